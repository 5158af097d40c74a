#include <chrono>
#include <random>

#include <gtest/gtest.h>

#include "golden.h"
#include "miniinfer/error.h"
#include "support/cpu_time.h"
#include "support/temp_dir.h"
#include "text/chat_template.h"

namespace miniinfer {
namespace {

constexpr char kMessages[] =
    R"([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}])";

std::string render(const std::string& source, const std::string& messages = kMessages) {
  return ChatTemplate::from_source(source, "")->render({messages, "", "", true});
}

// Each must end soon with an error that names no defect of ours.
class HostileTemplate : public testing::TestWithParam<const char*> {};

TEST_P(HostileTemplate, EndsWithAnError) {
  const CpuTimer timer;
  try {
    const std::string text = render(GetParam());
    ADD_FAILURE() << "rendered " << text.size() << " bytes: " << text.substr(0, 200);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kInvalidArgument ||
                error.code() == ErrorCode::kDataCorrupt)
        << error.what();
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
  }
  EXPECT_LT(timer.elapsed(), std::chrono::seconds(4));
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileTemplate,
    testing::Values(
        // time
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(10**9) %}{% endfor %}", "{{ range(10**9)|list|length }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% set ns = namespace(s='x' * 4000000) %}{% for i in range(100000) %}{% if ns.s == 'y' ~ "
        "ns.s %}{% endif %}{% endfor %}",
        "{% set s = 'x' * 8000000 %}{% for i in range(90000) %}{% if 'y' in s %}{% endif %}{% "
        "endfor %}",
        "{% set s = 'x' * 8000000 %}{% for i in range(90000) %}{% set t = s|upper %}{% endfor %}",
        "{% set s = 'x' * 8000000 %}{% for i in range(90000) %}{% set t = s.find('y') %}{% endfor "
        "%}",
        // memory
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% "
        "endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}{{ ns.s }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% "
        "endfor %}{{ ns.l|length }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
        "endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = (ns.l + "
        "ns.l)|batch(100)|list %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% "
        "endfor %}{{ ns.l == [] }}",
        "{% set ns = namespace(l={}) %}{% for i in range(90000) %}{% set ns.l = {'a': ns.l} %}{% "
        "endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=1) %}{% for i in range(90000) %}{% set ns.l = dict(a=ns.l) %}{% "
        "endfor %}{{ ns.l|string }}",
        "{% set ns = namespace() %}{% for i in range(90000) %}{% set ns.n = namespace(a=ns.n) %}{% "
        "endfor %}",
        "{% set a = namespace() %}{% set b = namespace() %}{% set a.x = a %}{% set b.x = b %}{{ a "
        "== b }}",
        "{% set a = namespace() %}{% set a.x = [a] %}{{ a }}", "{{ 'x' * 10**9 }}",
        "{{ [1] * 10**9 }}", "{{ ('x' * 4000000).replace('x', 'y' * 4000000) }}",
        "{{ ('x' * 4000000)|replace('x', 'y' * 4000000) }}",
        "{{ ('x' * 4000000).replace('', 'y' * 100) }}", "{{ 'x'.center(10**12) }}",
        "{{ 'x'.ljust(10**10) }}", "{{ 'x'|center(10**10) }}",
        "{{ ('y' * 4000000).join('x' * 4000000) }}",
        "{{ ('x' * 4000000)|list|join('y' * 4000000) }}", "{{ ('\n' * 4000000)|indent(4000000) }}",
        "{{ '%1000000000d' % 1 }}", "{{ '%.1000000000f'|format(1.0) }}",
        "{{ '{:1000000000}'.format(1) }}", "{{ '%*d' % (1000000000, 1) }}",
        "{{ [1]|batch(10**9, 0) }}", "{{ [1]|slice(10**9, 0) }}", "{{ 2 ** (10**9) }}",
        "{{ strftime_now('%1000000000Y') }}",
        // output
        "{% for i in range(100000) %}{{ messages }}{{ messages }}{{ messages }}{% endfor %}",
        "{% for i in range(100000) "
        "%}"
        "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789{% endfor %}",
        "{% macro f() %}{% for i in range(100000) %}0123456789012345678901234567890123456789{% "
        "endfor %}{% endmacro %}"
        "{% for i in range(1000) %}{% set x = f() %}{% endfor %}",
        "{% set x %}{% for i in range(100000) %}{% for j in range(40) "
        "%}01234567890123456789012345678901234567890123{% endfor %}{% endfor %}{% endset %}",
        // the sandbox
        "{% include 'tokenizer.json' %}", "{% include '/etc/passwd' %}",
        "{% extends '/etc/passwd' %}", "{% import '/etc/passwd' as x %}",
        "{% from '/etc/passwd' import x %}", "{{ messages.__class__.__mro__ }}",
        "{{ raise_exception.__globals__['os'] }}", "{{ ''.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__ }}", "{{ messages.append(1) }}", "{{ messages.pop() }}",
        "{{ messages[0].update({}) }}", "{{ open('/etc/passwd') }}",
        "{{ self.__init__.__globals__ }}", "{{ lipsum.__globals__ }}", "{{ debug() }}",
        // syntax
        "{{", "{% if %}", "{% for %}", "{{ 'a' | nofilter }}", "{{ x is notest }}", "{% unknown %}",
        "{{ nothing.at.all }}", "{{ nothing() }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}",
        "{{ {}|tojson(bad=1) }}"));

TEST(HostileTemplate, DeepNestingInTheSource) {
  for (const char* open : {"(", "[", "{% if 1 %}", "{{ -"}) {
    std::string source = std::string(open).starts_with("{") ? "" : "{{ ";
    for (int i = 0; i < 100000; ++i) source += open;
    EXPECT_THROW(ChatTemplate::from_source(source, ""), Error) << open;
  }
  std::string chain = "{{ 'a'";
  for (int i = 0; i < 50000; ++i) chain += " ~ 'a'";
  std::string filters = "{{ 'a'";
  for (int i = 0; i < 50000; ++i) filters += "|upper";
  for (const auto& source : {chain + " }}", filters + " }}"}) {
    try {
      EXPECT_FALSE(render(source).empty());
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    }
  }
}

TEST(HostileTemplate, NamedTemplatesAndNone) {
  EXPECT_EQ(ChatTemplate::from_source("", ""), nullptr);
  EXPECT_EQ(ChatTemplate::from_source("", "{}"), nullptr);
  const auto named =
      ChatTemplate::from_source("", R"({"chat_template": [{"name": "default", "template": "plain"},
      {"name": "tool_use", "template": "tools"}]})");
  EXPECT_EQ(named->render({kMessages, "", "", true}), "plain");
  EXPECT_EQ(named->render({kMessages, R"([{"type": "function"}])", "", true}), "tools");
  EXPECT_THROW(ChatTemplate::from_source("", R"({"chat_template": 3})"), Error);
  EXPECT_THROW(ChatTemplate::from_source("", R"({"chat_template": [{"name": 1}]})"), Error);
}

TEST(HostileTemplate, Directories) {
  TempDir directory;
  EXPECT_EQ(ChatTemplate::from_directory(directory.path()), nullptr);
  directory.write("tokenizer_config.json",
                  R"({"bos_token": "<s>", "chat_template": "of the config"})");
  EXPECT_EQ(ChatTemplate::from_directory(directory.path())->render({kMessages, "", "", true}),
            "of the config");
  directory.write("chat_template.jinja", "{{ bos_token }}of the file");
  directory.write("additional_chat_templates/tool_use.jinja", "{{ bos_token }}for tools");
  const auto both = ChatTemplate::from_directory(directory.path());
  EXPECT_EQ(both->render({kMessages, "", "", true}), "<s>of the file");
  EXPECT_EQ(both->render({kMessages, R"([{"type": "function"}])", "", true}), "<s>for tools");
  std::filesystem::remove_all(directory.path() / "additional_chat_templates");
  directory.write("chat_template.jinja", "{% if %}");
  try {
    ChatTemplate::from_directory(directory.path());
    ADD_FAILURE() << "compiled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDataCorrupt);
    EXPECT_TRUE(error.message().starts_with((directory.path() / "chat_template.jinja").string()))
        << error.message();
  }
}

TEST(HostileTemplate, BadArguments) {
  const auto chat_template = ChatTemplate::from_source("{{ messages[0].content }}", "");
  const auto fails = [&](const ChatRenderArgs& args) {
    try {
      chat_template->render(args);
      ADD_FAILURE() << "rendered " << args.messages_json.substr(0, 100);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    }
  };
  for (const char* messages : {"", "[]", "{}", "[1]", "[", "null", "\"x\"", "[{\"a\": 1e999}]"})
    fails({messages, "", "", true});
  fails({std::string(3000, '['), "", "", true});
  fails({"[{\"content\": \"\xff\"}]", "", "", true});
  fails({kMessages, "{}", "", true});
  fails({kMessages, "", "[]", true});
  EXPECT_EQ(chat_template->render({kMessages, "null", "{}", true}), "hello");
}

TEST(HostileTemplate, MutatedTemplatesNeverPanic) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<std::string> sources;
  for (const auto& entry : std::filesystem::directory_iterator(golden_directory() / "templates")) {
    if (entry.path().extension() == ".jinja") sources.push_back(read_text(entry.path()));
  }
  ASSERT_GT(sources.size(), 5u);
  const std::string bytes = "{}%#-+|~()[]'\".,:=<>!*/ \n0129aeinrt_\\";
  int rendered = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string source = sources[random() % sources.size()];
    for (uint32_t edits = 1 + random() % 4; edits > 0 && !source.empty(); --edits) {
      const size_t at = random() % source.size();
      switch (random() % 3) {
        case 0:
          source[at] = bytes[random() % bytes.size()];
          break;
        case 1:
          source.erase(at, 1 + random() % 10);
          break;
        default: {
          const std::string& other = sources[random() % sources.size()];
          source.insert(at, other.substr(random() % other.size(), 1 + random() % 20));
        }
      }
    }
    try {
      render(source);
      ++rendered;
    } catch (const Error& error) {
      ASSERT_NE(error.code(), ErrorCode::kInternal) << error.what() << "\n" << source;
    }
  }
  EXPECT_GT(rendered, 0);
}

}  // namespace
}  // namespace miniinfer
