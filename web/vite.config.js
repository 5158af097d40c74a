import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";

const page = "dist/index.html";

// The server sends this policy with the page. Script and style are allowed by their hashes alone, so that markup which
// slips into an answer can neither run nor load anything.
function contentSecurityPolicy(html) {
  const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const script = /<script\b[^>]*>([\s\S]*?)<\/script>/;
  // The highlighter's grammar of HTML spells style tags too: look outside the script alone.
  const style = /<style\b[^>]*>([\s\S]*?)<\/style>/.exec(html.replace(script, ""));
  return [
    "default-src 'none'",
    `script-src ${hash(script.exec(html)[1])}`,
    `style-src ${hash(style[1])}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

export default defineConfig({
  plugins: [
    viteSingleFile({ removeViteModuleLoader: true }),
    {
      name: "content-security-policy",
      closeBundle() {
        writeFileSync("dist/content-security-policy.txt", contentSecurityPolicy(readFileSync(page, "utf8")) + "\n");
      },
    },
  ],
  build: { target: "es2022", modulePreload: false, reportCompressedSize: false },
});
