#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "serve/http/connection.h"
#include "serve/request_note.h"

namespace miniinfer {
namespace {

// Refuses /no; answers everything else at once with the size of its body.
class Handler : public HttpHandler {
 public:
  bool accept(HttpRequest& request, HttpReply& refusal) override {
    request.note = std::make_shared<RequestNote>();
    if (request.path != "/no") return true;
    refusal = {.status = 404, .body = "no"};
    return false;
  }
  std::function<void()> handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    // What comes here has a head that was accepted.
    EXPECT_NE(request.note, nullptr);
    EXPECT_NE(request.path, "/no");
    responder->reply({.body = std::to_string(request.body.size())});
    return {};
  }
  void done(const HttpRequest&, int, size_t) override {}
  HttpReply protocol_error(int status, std::string_view) override {
    return {.status = status, .body = "error"};
  }
};

class TestConnection : public ConnectionCore {
 public:
  explicit TestConnection(ConnectionShared& shared) : ConnectionCore(shared, "peer") {}

 private:
  void output_ready() override {}
  void abort() override { peer_closed(); }
};

class Mutations : public testing::Test {
 protected:
  Mutations() {
    shared_.handler = &handler_;
    shared_.make_exchange = [this] { return std::make_shared<Exchange>(outbox_, [] {}); };
    std::random_device device;
    const unsigned seed = device();
    RecordProperty("seed", std::to_string(seed));
    trace_ = "seed " + std::to_string(seed);
    random_.seed(seed);
  }

  // What a connection answers to these bytes, which arrive in pieces.
  std::string answers(std::string_view bytes) {
    TestConnection connection(shared_);
    std::string output;
    const auto move_on = [&] {
      for (int quiet = 0; quiet < 2;) {
        for (Outbox::Item& item : outbox_->take())
          if (item.exchange->connection != nullptr) connection.send_reply(std::move(item.reply));
        const std::string sent = connection.take_output();
        connection.sent(sent.size());
        (void)connection.drained();
        output += sent;
        quiet = sent.empty() ? quiet + 1 : 0;
      }
    };
    while (!bytes.empty()) {
      const size_t piece =
          std::min<size_t>(1 + random_() % (random_() % 4 == 0 ? 500 : 20), bytes.size());
      connection.received(bytes.substr(0, piece));
      bytes.remove_prefix(piece);
      move_on();
    }
    connection.peer_closed();
    return output;
  }

  std::string body(bool chunked, size_t size) {
    const std::string text(size, 'x');
    if (!chunked) return text;
    std::string chunks;
    for (size_t at = 0; at < size;) {
      const size_t n = 1 + random_() % (size - at);
      char head[32];
      snprintf(head, sizeof head, random_() % 2 == 0 ? "%zx\r\n" : "%zX;a=b\r\n", n);
      chunks += head + text.substr(at, n) + "\r\n";
      at += n;
    }
    return chunks + (random_() % 3 == 0 ? "0\r\nX-Sum: 7\r\n\r\n" : "0\r\n\r\n");
  }

  // A request, and what is answered to it: its status and body; "" with `last` when nobody can say.
  std::string request(std::string& answer, bool& last) {
    const bool refused = random_() % 3 == 0, post = random_() % 2 == 0;
    const bool chunked = post && random_() % 2 == 0;
    const bool expects = post && random_() % 3 == 0;
    const size_t size = random_() % 3 == 0 ? 0 : random_() % 3000;
    std::string text = std::string(post ? "POST " : "GET ") + (refused ? "/no" : "/yes") +
                       " HTTP/1.1\r\nHost: x\r\n";
    if (expects) text += "Expect: 100-continue\r\n";
    if (post)
      text += chunked ? "Transfer-Encoding: chunked\r\n"
                      : "Content-Length: " + std::to_string(size) + "\r\n";
    text += "\r\n";
    const bool has_body = post && (chunked || size > 0);
    // A body that was not asked for is not waited for: the connection ends.
    last = refused && has_body && (chunked || expects);
    answer = refused ? "404 no" : "200 " + std::to_string(post ? size : 0);
    return text + (post ? body(chunked, size) : "");
  }

  // "STATUS BODY" of every answer but 100.
  static std::vector<std::string> read_answers(std::string_view output) {
    std::vector<std::string> answers;
    while (!output.empty()) {
      EXPECT_TRUE(output.starts_with("HTTP/1.")) << output.substr(0, 50);
      const size_t end = output.find("\r\n\r\n");
      EXPECT_NE(end, std::string_view::npos);
      if (end == std::string_view::npos) break;
      const std::string_view head = output.substr(0, end);
      output.remove_prefix(end + 4);
      const std::string status(head.substr(9, 3));
      if (status == "100") continue;
      const size_t field = head.find("Content-Length: ");
      EXPECT_NE(field, std::string_view::npos) << head;
      const size_t size = field == std::string_view::npos
                              ? 0
                              : std::stoul(std::string(head.substr(field + 16, 10)));
      answers.push_back(status + " " + std::string(output.substr(0, size)));
      output.remove_prefix(std::min(size, output.size()));
    }
    return answers;
  }

  Handler handler_;
  ConnectionShared shared_;
  std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>();
  std::mt19937 random_;
  std::string trace_;
};

TEST_F(Mutations, EveryRequestGetsItsOwnAnswerHoweverItIsFramed) {
  SCOPED_TRACE(trace_);
  for (int round = 0; round < 500; ++round) {
    std::string requests;
    std::vector<std::string> expected;
    bool last = false;
    while (expected.size() < 12 && !last) {
      std::string answer;
      requests += request(answer, last);
      expected.push_back(answer);
    }
    ASSERT_EQ(read_answers(answers(requests)), expected) << requests;
    ASSERT_EQ(shared_.exchanges, 0u);
    ASSERT_EQ(*shared_.body_bytes, 0u);
  }
}

TEST_F(Mutations, BrokenRequestsAreAnsweredWholeOrNotAtAll) {
  SCOPED_TRACE(trace_);
  const std::string_view kPieces[] = {"\r\n",
                                      "\n",
                                      "\r",
                                      " ",
                                      "\t",
                                      ":",
                                      "0",
                                      "5",
                                      "\0\x7f",
                                      "x",
                                      "HTTP/1.1",
                                      "HTTP/1.0",
                                      "Host: y\r\n",
                                      "chunked",
                                      "-",
                                      ",",
                                      "Connection: close\r\n",
                                      "Content-Length: 3\r\n",
                                      "Transfer-Encoding: chunked\r\n",
                                      "Expect: 100-continue\r\n",
                                      "fffffffffffffff"};
  for (int round = 0; round < 3000; ++round) {
    std::string bytes, answer;
    bool last = false;
    for (int i = 0; i < 3; ++i) bytes += request(answer, last);
    const int edits = 1 + static_cast<int>(random_() % 4);
    for (int i = 0; i < edits; ++i) {
      const size_t at = random_() % std::min<size_t>(bytes.size(), 400);
      if (random_() % 3 == 0) bytes.erase(at, 1 + random_() % 8);
      if (random_() % 3 == 0) bytes[std::min(at, bytes.size() - 1)] = static_cast<char>(random_());
      if (random_() % 2 == 0)
        bytes.insert(std::min(at, bytes.size()), kPieces[random_() % std::size(kPieces)]);
    }
    for (const std::string& one : read_answers(answers(bytes)))
      ASSERT_TRUE(one.starts_with("200 ") || one == "404 no" || one.ends_with(" error"))
          << one << "\n"
          << bytes;
    ASSERT_EQ(shared_.exchanges, 0u);
    ASSERT_EQ(*shared_.body_bytes, 0u);
  }
}

}  // namespace
}  // namespace miniinfer
