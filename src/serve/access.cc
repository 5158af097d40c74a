#include "serve/access.h"

#include <algorithm>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "miniinfer/error.h"

namespace miniinfer {
namespace {

std::array<uint8_t, 32> digest(std::string_view text) {
  std::array<uint8_t, 32> bytes;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), bytes.data());
  return bytes;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

std::string credentials(const std::string& header) {
  const size_t space = header.find(' ');
  if (space == std::string::npos) return {};
  const std::string scheme = lower(std::string_view(header).substr(0, space));
  const std::string rest = header.substr(header.find_first_not_of(' ', space) == std::string::npos
                                             ? header.size()
                                             : header.find_first_not_of(' ', space));
  return scheme == "bearer" ? rest : std::string();
}

// The name in a Host header, without the port; empty when that is no number.
std::string host_name(std::string_view host) {
  const size_t end =
      host.starts_with('[') ? host.find(']') + 1 : std::min(host.find(':'), host.size());
  const std::string_view port = host.substr(end);
  const bool is_port = port.empty() || (port[0] == ':' && port.find_first_not_of("0123456789", 1) ==
                                                              std::string_view::npos);
  return is_port ? lower(host.substr(0, end)) : std::string();
}

}  // namespace

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) digests_.push_back(digest(key));
}

std::optional<size_t> ApiKeys::find(const HttpRequest& request) const {
  const std::string* header = request.header("Authorization");
  const Digest given = digest(header == nullptr ? std::string() : credentials(*header));
  std::optional<size_t> found;
  for (size_t i = 0; i < digests_.size(); ++i)  // all of them, also after a match
    if (CRYPTO_memcmp(given.data(), digests_[i].data(), given.size()) == 0) found = i;
  return found;
}

bool is_loopback(std::string_view host) {
  // 127.example.com is a name like any other.
  const bool digits = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return host == "localhost" || host == "::1" || host == "[::1]" ||
         (digits && host.starts_with("127."));
}

HostCheck::HostCheck(const ServeOptions& options)
    : any_(options.allowed_hosts.empty() && !is_loopback(options.http.host)),
      names_{"localhost", "127.0.0.1", "[::1]", lower(options.http.host)} {
  for (const std::string& name : options.allowed_hosts) {
    if (name == "*") any_ = true;
    names_.push_back(host_name(name));
  }
}

bool HostCheck::allows(const HttpRequest& request) const {
  const std::string* host = request.header("Host");
  if (any_ || host == nullptr) return true;  // without a name there is none to be fooled by
  return std::find(names_.begin(), names_.end(), host_name(*host)) != names_.end();
}

HttpHeaders cors_headers(const std::vector<std::string>& allowed_origins,
                         const HttpRequest& request) {
  const std::string* origin = request.header("Origin");
  if (origin == nullptr) return {};
  const bool any =
      std::find(allowed_origins.begin(), allowed_origins.end(), "*") != allowed_origins.end();
  if (!any &&
      std::find(allowed_origins.begin(), allowed_origins.end(), *origin) == allowed_origins.end())
    return {};
  HttpHeaders headers = {{"Access-Control-Allow-Origin", any ? "*" : *origin},
                         {"Vary", "Origin"},
                         {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"}};
  if (request.method == "OPTIONS") {
    headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    headers.emplace_back("Access-Control-Allow-Headers",
                         "Authorization, Content-Type, X-Request-Id");
    headers.emplace_back("Access-Control-Max-Age", "600");
  }
  return headers;
}

bool is_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
  });
}

std::string new_request_id() {
  thread_local std::mt19937_64 random(std::random_device{}());
  return fmt::format("{:016x}{:016x}", random(), random());
}

void check_exposure(const ServeOptions& options) {
  if (is_loopback(options.http.host) || !options.api_keys.empty() || options.allow_unauthenticated)
    return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("--host: {} can be reached by other machines: set --api-key, or "
                          "--allow-unauthenticated to serve everybody",
                          options.http.host),
              "host");
}

std::vector<std::string> read_key_file(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    throw Error(ErrorCode::kInvalidArgument, "--api-key-file: cannot read " + path, "api-key-file");
  std::vector<std::string> keys;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  if (keys.empty())
    throw Error(ErrorCode::kInvalidArgument, "--api-key-file: " + path + " holds no key",
                "api-key-file");
  return keys;
}

}  // namespace miniinfer
