#include <condition_variable>
#include <mutex>

#include <gtest/gtest.h>

#include "miniinfer/llm.h"

namespace miniinfer {
namespace {

// One reader for many streams: it sleeps until some stream says that it has something.
class Ready {
 public:
  void notify(size_t stream) {
    std::lock_guard lock(mutex_);
    streams_.push_back(stream);
    condition_.notify_one();
  }
  std::vector<size_t> wait() {
    std::unique_lock lock(mutex_);
    const bool any =
        condition_.wait_for(lock, std::chrono::seconds(30), [&] { return !streams_.empty(); });
    EXPECT_TRUE(any) << "a stream was never announced";
    return std::exchange(streams_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  std::vector<size_t> streams_;
};

TEST(Stream, TryNextWithNewsGivesWhatNextGives) {
  LLM llm;
  const SamplingParams params{.n = 2, .max_tokens = 24, .temperature = 0.8, .seed = 7};
  std::vector<std::string> expected;
  for (const Completion& output :
       llm.generate(Prompt::from_text("Once upon a time"), params).outputs)
    expected.push_back(output.text);

  constexpr size_t kStreams = 20;
  Ready ready;
  std::vector<Stream> streams;
  for (size_t i = 0; i < kStreams; ++i)
    streams.push_back(llm.submit(Prompt::from_text("Once upon a time"), params,
                                 [&ready, i] { ready.notify(i); }));
  std::vector<std::vector<std::string>> texts(kStreams, std::vector<std::string>(2));
  size_t finished = 0;
  while (finished < kStreams && !testing::Test::HasFailure()) {
    for (const size_t i : ready.wait()) {
      if (streams[i].finished()) continue;
      while (std::optional<StreamChunk> chunk = streams[i].try_next()) {
        EXPECT_FALSE(chunk->error);
        EXPECT_TRUE(streams[i].started_at());
        texts[i][static_cast<size_t>(chunk->index)] += chunk->text;
      }
      if (streams[i].finished()) ++finished;
    }
  }
  for (const auto& text : texts) EXPECT_EQ(text, expected);
}

TEST(Stream, TryNextDoesNotWait) {
  LLM llm;
  Stream stream =
      llm.submit(Prompt::from_text("Hello"), {.max_tokens = 1000, .ignore_eos = true}, [] {});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(stream.started_at());
  stream.try_next();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(200));
  EXPECT_FALSE(stream.finished());
  stream.cancel();
}

}  // namespace
}  // namespace miniinfer
