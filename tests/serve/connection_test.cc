#include "serve/http/connection.h"

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

constexpr const char* kGet = "GET /now HTTP/1.1\r\nHost: x\r\n\r\n";

// Answers /now at once; keeps the responders of others. Refuses /no.
class Handler : public HttpHandler {
 public:
  bool accept(HttpRequest& request, HttpReply& refusal) override {
    if (request.path != "/no") return true;
    refusal = {.status = 404, .body = "no"};
    return false;
  }
  std::function<void()> handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    paths.push_back(request.path);
    bodies.push_back(request.body);
    if (keep_places) places.push_back(request.body_place);
    if (request.path == "/now")
      responder->reply({.body = answer});
    else
      responders.push_back(responder);
    return [this] { ++gone; };
  }
  void done(const HttpRequest&, int status, size_t) override { statuses.push_back(status); }
  HttpReply protocol_error(int status, std::string_view) override {
    return {.status = status, .body = "error"};
  }

  std::vector<std::string> paths, bodies;
  bool keep_places = false;
  std::vector<std::shared_ptr<void>> places;
  std::vector<std::shared_ptr<Responder>> responders;
  std::vector<int> statuses;
  int gone = 0;
  std::string answer = "yes";
};

class TestConnection : public ConnectionCore {
 public:
  explicit TestConnection(ConnectionShared& shared) : ConnectionCore(shared, "peer") {}
  using ConnectionCore::abort;
  bool aborted = false;

 private:
  void output_ready() override {}
  void abort() override {
    aborted = true;
    peer_closed();
  }
};

class Connections : public testing::Test {
 protected:
  Connections() {
    shared_.handler = &handler_;
    shared_.make_exchange = [this] { return std::make_shared<Exchange>(outbox_, [] {}); };
  }

  // Hands over what responders said, as the server's thread does.
  void deliver() {
    for (bool more = true; more;) {
      more = false;
      for (Outbox::Item& item : outbox_->take()) {
        more = true;
        ConnectionCore* connection = item.exchange->connection;
        if (connection == nullptr) continue;
        if (item.kind == Outbox::Item::Kind::kReply) connection->send_reply(std::move(item.reply));
        if (item.kind == Outbox::Item::Kind::kBegin) connection->send_head(std::move(item.reply));
        if (item.kind == Outbox::Item::Kind::kPiece) connection->send_piece(item.piece);
        if (item.kind == Outbox::Item::Kind::kEnd) connection->send_end();
      }
    }
  }
  std::string output() {
    deliver();
    std::string bytes = connection_.take_output();
    connection_.sent(bytes.size());
    return bytes;
  }
  static size_t count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }

  Handler handler_;
  ConnectionShared shared_;
  std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>();
  TestConnection connection_{shared_};
};

TEST_F(Connections, PipelinedRequestsWaitForTheirTurn) {
  connection_.received(std::string("GET /later HTTP/1.1\r\nHost: x\r\n\r\n") + kGet + kGet);
  EXPECT_EQ(output(), "");
  EXPECT_EQ(handler_.paths, std::vector<std::string>{"/later"});
  handler_.responders[0]->reply({.body = "late"});
  const std::string bytes = output();
  EXPECT_EQ(count(bytes, "HTTP/1.1 200"), 3u);
  EXPECT_LT(bytes.find("late"), bytes.find("yes"));
  EXPECT_EQ(handler_.statuses, (std::vector<int>{200, 200, 200}));
  EXPECT_EQ(shared_.exchanges, 0u);
}

TEST_F(Connections, AClientThatGoesIsToldOnceAndRepliesToItVanish) {
  connection_.received("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(shared_.exchanges, 1u);
  connection_.peer_closed();
  connection_.peer_closed();
  EXPECT_EQ(handler_.gone, 1);
  EXPECT_EQ(handler_.statuses, std::vector<int>{499});
  handler_.responders[0]->reply({.body = "late"});
  EXPECT_EQ(output(), "");
  EXPECT_EQ(shared_.exchanges, 0u);
}

TEST_F(Connections, AStreamIsChunked) {
  connection_.received("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.responders[0]->begin({.content_type = "text/event-stream"});
  handler_.responders[0]->write("0123456789abcdef");
  handler_.responders[0]->finish();
  const std::string bytes = output();
  EXPECT_NE(bytes.find("Transfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_TRUE(bytes.ends_with("\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n")) << bytes;
  connection_.received(kGet);
  EXPECT_EQ(count(output(), "HTTP/1.1 200"), 1u);
}

TEST_F(Connections, UnsentOutputIsBounded) {
  connection_.received("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.responders[0]->begin({});
  const std::string piece(100'000, 'x');
  for (int i = 0; i < 10; ++i) {
    handler_.responders[0]->write(piece);
    deliver();
  }
  EXPECT_FALSE(connection_.aborted);
  (void)connection_.take_output();  // handed to the socket, and not taken by the client
  handler_.responders[0]->write(piece);
  deliver();
  EXPECT_TRUE(connection_.aborted);
  EXPECT_EQ(handler_.gone, 1);
}

TEST_F(Connections, APieceAloneMayBeLargerThanWhatMayWait) {
  connection_.received("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.responders[0]->begin({});
  EXPECT_NE(output(), "");
  handler_.responders[0]->write(std::string(3 << 20, 'x'));
  EXPECT_GT(output().size(), size_t{3} << 20);
  EXPECT_FALSE(connection_.aborted);
}

TEST_F(Connections, ALineEndBeforeARequestIsNobodys) {
  connection_.received(std::string("\r\n") + kGet + "\r");
  connection_.received(std::string("\n") + kGet);
  EXPECT_EQ(count(output(), "HTTP/1.1 200"), 2u);
}

TEST_F(Connections, TheLastReplyIsNotReadForever) {
  using std::chrono::seconds;
  connection_.received("GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  deliver();
  const std::string bytes = connection_.take_output();
  const auto now = std::chrono::steady_clock::now();
  connection_.sent(1);
  EXPECT_TRUE(connection_.check_time(now + seconds(25)));
  shared_.options.write_timeout = seconds(1000);  // it takes a byte now and then
  EXPECT_TRUE(connection_.check_time(now + seconds(70)));
  EXPECT_FALSE(connection_.check_time(now + seconds(80)));
}

TEST_F(Connections, RequestsOfAClientThatDoesNotReadWait) {
  handler_.answer = std::string(100'000, 'x');
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += kGet;
  connection_.received(requests);
  deliver();
  // 1 MiB of answers, and one beyond.
  EXPECT_EQ(handler_.paths.size(), 11u);
  EXPECT_FALSE(connection_.wants_input());
  size_t answers = 0;
  for (int i = 0; i < 100 && answers < 100; ++i) {
    const std::string bytes = connection_.take_output();
    answers += count(bytes, "HTTP/1.1 200");
    connection_.sent(bytes.size());
    EXPECT_TRUE(connection_.drained());
    deliver();
  }
  EXPECT_EQ(answers, 100u);
  EXPECT_TRUE(connection_.wants_input());
}

TEST_F(Connections, ARefusedBodyIsReadWhenItIsSmallAndEndsTheConnectionWhenItIsLarge) {
  connection_.received("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(output(), "");
  connection_.received(std::string("hello") + kGet);
  std::string bytes = output();
  EXPECT_EQ(count(bytes, "HTTP/1.1 404"), 1u);
  EXPECT_EQ(count(bytes, "HTTP/1.1 200"), 1u);
  EXPECT_EQ(handler_.bodies, std::vector<std::string>{""});
  connection_.received("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  bytes = output();
  EXPECT_EQ(count(bytes, "HTTP/1.1 404"), 1u);
  EXPECT_NE(bytes.find("Connection: close"), std::string::npos);
  EXPECT_FALSE(connection_.drained());
}

TEST_F(Connections, BodiesInMemoryAreBoundedTogether) {
  shared_.options.max_body_bytes_in_memory = 1000;
  TestConnection other(shared_);
  const std::string head = "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n";
  other.received(head);
  other.received(std::string(800, 'x'));
  EXPECT_EQ(*shared_.body_bytes, 800u);
  connection_.received(head);
  connection_.received(std::string(800, 'x'));
  EXPECT_EQ(count(output(), "HTTP/1.1 503"), 1u);
  EXPECT_EQ(*shared_.body_bytes, 800u);
  other.received(std::string(100, 'x'));
  EXPECT_EQ(*shared_.body_bytes, 0u);
  EXPECT_EQ(handler_.bodies, std::vector<std::string>{std::string(900, 'x')});
}

TEST_F(Connections, ABodyKeepsItsPlaceUntilItWasRead) {
  shared_.options.max_body_bytes_in_memory = 1000;
  handler_.keep_places = true;
  const std::string head = "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n";
  connection_.received(head + std::string(900, 'x'));
  EXPECT_EQ(*shared_.body_bytes, 900u);
  TestConnection other(shared_);
  other.received(head);
  other.received(std::string(200, 'x'));
  EXPECT_EQ(handler_.bodies.size(), 1u);
  EXPECT_EQ(count(other.take_output(), "HTTP/1.1 503"), 1u);
  handler_.places.clear();
  EXPECT_EQ(*shared_.body_bytes, 0u);
}

TEST_F(Connections, TimeRunsOut) {
  using std::chrono::seconds;
  const auto now = std::chrono::steady_clock::now();
  EXPECT_TRUE(connection_.check_time(now + seconds(9)));
  EXPECT_FALSE(connection_.check_time(now + seconds(11)));  // never said a word
  connection_.received("GET /now HT");
  EXPECT_TRUE(connection_.check_time(now + seconds(9)));
  EXPECT_EQ(output(), "");
  EXPECT_TRUE(connection_.check_time(now + seconds(11)));
  EXPECT_EQ(count(output(), "HTTP/1.1 408"), 1u);
  EXPECT_FALSE(connection_.check_time(now + seconds(100)));
}

}  // namespace
}  // namespace miniinfer
