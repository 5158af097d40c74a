#include <cstdio>

#include <miniinfer/llm.h>

int main() {
  miniinfer::LLM llm;  // or the path of a Hugging Face directory
  const auto prompt =
      miniinfer::Prompt::from_messages(R"([{"role": "user", "content": "What is 17 plus 25?"}])");
  const auto result = llm.generate(prompt, {.max_tokens = 32, .temperature = 0});
  std::puts(result.outputs.at(0).text.c_str());
}
