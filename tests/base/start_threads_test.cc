#include "base/start_threads.h"

#include <atomic>
#include <new>

#include <gtest/gtest.h>

#include "miniinfer/error.h"

namespace miniinfer {
namespace {

// A body whose n-th copy fails, as a thread's state or the thread itself can.
struct Body {
  std::atomic<bool>* stop;
  std::atomic<int>* running;
  int* copies;
  int failing;
  bool by_system;
  Body(std::atomic<bool>* stop, std::atomic<int>* running, int* copies, int failing, bool by_system)
      : stop(stop), running(running), copies(copies), failing(failing), by_system(by_system) {}
  Body(Body&&) = default;
  Body(const Body& other)
      : Body(other.stop, other.running, other.copies, other.failing, other.by_system) {
    if (++*copies != failing) return;
    if (by_system)
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    throw std::bad_alloc();
  }
  void operator()() const {
    ++*running;
    while (!*stop) std::this_thread::yield();
    --*running;
  }
};

TEST(StartThreads, AllRunOrNoneIsLeft) {
  for (const bool by_system : {false, true}) {
    for (int failing = 1; failing <= 6; ++failing) {
      std::atomic<bool> stop{false};
      std::atomic<int> running{0};
      int copies = 0;
      std::vector<std::thread> threads;
      const Body body(&stop, &running, &copies, failing, by_system);
      bool thrown = false;
      try {
        start_threads(threads, 4, body, [&] { stop = true; });
      } catch (const Error& error) {
        thrown = true;
        EXPECT_TRUE(by_system);
        EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
        EXPECT_NE(error.message().find("of 4 could be started"), std::string::npos);
      } catch (const std::bad_alloc&) {
        thrown = true;
        EXPECT_FALSE(by_system);
      } catch (const std::system_error&) {
        thrown = true;  // the copy for the call itself
        EXPECT_EQ(failing, 1);
      }
      EXPECT_EQ(thrown, failing <= 5) << failing;
      EXPECT_EQ(threads.size(), thrown ? 0U : 4U);
      stop = true;
      for (std::thread& thread : threads) thread.join();
      EXPECT_EQ(running, 0);
    }
  }
}

}  // namespace
}  // namespace miniinfer
