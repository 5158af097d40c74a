#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http/message.h"
#include "serve/options.h"

namespace miniinfer {

// The keys that open a server. Comparing takes the same time whichever key is given.
class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);
  bool required() const { return !digests_.empty(); }
  // Which key the request carries, as `Authorization: Bearer KEY`; nothing when it carries none
  // that is known.
  std::optional<size_t> find(const HttpRequest& request) const;

 private:
  using Digest = std::array<uint8_t, 32>;
  std::vector<Digest> digests_;  // SHA-256: of equal length, whatever the keys are
};

bool is_loopback(std::string_view host);

// Whether the name in `Host` is one that this server goes by. A web page of another name that has
// been made to resolve to this machine cannot ask on its reader's behalf then.
class HostCheck {
 public:
  explicit HostCheck(const ServeOptions& options);
  bool allows(const HttpRequest& request) const;

 private:
  bool any_;  // an address that others reach, no list: the key protects it
  std::vector<std::string> names_;
};

// `Access-Control-*` headers for pages of the allowed origins, and nothing for others.
HttpHeaders cors_headers(const std::vector<std::string>& allowed_origins,
                         const HttpRequest& request);

// 1 to 128 letters, digits, '.', '_', ':' and '-'.
bool is_request_id(std::string_view id);
std::string new_request_id();

// Throws Error invalid_argument when others could reach a server that asks for no key.
void check_exposure(const ServeOptions& options);
// The keys of a file, one a line. Throws Error invalid_argument (param "api-key-file").
std::vector<std::string> read_key_file(const std::string& path);

}  // namespace miniinfer
