#include "serve/protocol/fields.h"
#include "serve/protocol/generation_request.h"

namespace miniinfer {

GenerationRequest parse_completion_request(const Json& body, const ServedModel& model) {
  GenerationRequest request;
  request.params = model.defaults;
  const Json* prompt = find_field(body, "prompt");
  if (prompt == nullptr) reject_field("prompt", "is missing");
  request.prompts = parse_prompts(*prompt);
  request.echo = find_bool(body, "echo").value_or(false);
  read_common_fields(body, model, {"prompt", "echo"}, request);
  // The logprobs of an echoed prompt stand before those of the output.
  if (request.echo && request.params.logprobs) {
    if (request.params.prompt_logprobs) reject_field("prompt_logprobs", "is not for an echo");
    request.params.prompt_logprobs = request.params.logprobs;
  }
  return request;
}

}  // namespace miniinfer
