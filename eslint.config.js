"use strict";

const js = require("@eslint/js");
const globals = require("globals");

module.exports = [
  { ignores: ["target/", "**/node_modules/"] },
  js.configs.recommended,
  {
    languageOptions: { globals: globals.node },
    rules: {
      "array-callback-return": "error",
      eqeqeq: "error",
      "no-template-curly-in-string": "error",
      "no-unused-vars": ["error", { args: "all", argsIgnorePattern: "^_" }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "require-await": "off",
      strict: ["error", "global"],
    },
  },
  { files: ["**/*.js"], languageOptions: { sourceType: "commonjs" } },
  { files: ["**/*.mjs", "examples/ticket-server/**/*.js"], languageOptions: { sourceType: "module" }, rules: { strict: "off" } },
];
