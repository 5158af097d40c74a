// Reads 1 GiB with two threads, seven times, and prints the best and the median GB/s as JSON.
// The limit of decode at batch 1: every step reads all weights once.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kThreads = 2, kRounds = 7 };
static const size_t kBytes = (size_t)1 << 30;
static char* data;
static volatile uint64_t sink;

static void* read_share(void* argument) {
  const size_t share = kBytes / kThreads;
  const uint64_t* words = (const uint64_t*)(data + (size_t)argument * share);
  // Eight sums, so that the compiler may keep eight vector loads in flight.
  uint64_t sums[64] = {0};
  for (size_t i = 0; i < share / 8; i += 64) {
    for (size_t j = 0; j < 64; ++j) sums[j] += words[i + j];
  }
  for (size_t j = 0; j < 64; ++j) sink += sums[j];
  return NULL;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a;
  const double y = *(const double*)b;
  return (x > y) - (x < y);
}

int main(void) {
  data = aligned_alloc(4096, kBytes);
  if (data == NULL) return 1;
  memset(data, 1, kBytes);
  double rates[kRounds];
  for (int round = 0; round < kRounds; ++round) {
    pthread_t threads[kThreads];
    const double start = now();
    for (size_t t = 0; t < kThreads; ++t) pthread_create(&threads[t], NULL, read_share, (void*)t);
    for (size_t t = 0; t < kThreads; ++t) pthread_join(threads[t], NULL);
    rates[round] = (double)kBytes / (now() - start) / 1e9;
  }
  qsort(rates, kRounds, sizeof rates[0], ascending);
  printf("{\"best_gb_per_s\": %.2f, \"median_gb_per_s\": %.2f}\n", rates[kRounds - 1],
         rates[kRounds / 2]);
  return 0;
}
