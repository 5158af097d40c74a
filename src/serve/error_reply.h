#pragma once

#include <string>

#include "base/json.h"
#include "miniinfer/error.h"
#include "serve/http/message.h"

namespace miniinfer {

// The object under "error" of a reply or an event, with the codes that clients tell apart.
Json api_error_json(const Error& error);
// The reply that refuses a request; `headers` are those of every reply to it. A full or closing
// server, and a key's limit, say when to come again.
HttpReply error_reply(const Error& error, HttpHeaders headers = {});
// For refusals that the protocol of HTTP names and ErrorCode does not.
HttpReply status_reply(int status, const std::string& message, const std::string& code,
                       HttpHeaders headers = {});

}  // namespace miniinfer
