"use strict"

const js = require("@eslint/js")
const stylistic = require("@stylistic/eslint-plugin")
const globals = require("globals")

module.exports = [
  {ignores: ["target/", "**/node_modules/"]},
  js.configs.recommended,
  {
    languageOptions: {globals: globals.node},
    plugins: {stylistic},
    rules: {
      "array-callback-return": "error",
      "eqeqeq": "error",
      "no-template-curly-in-string": "error",
      "no-unused-vars": ["error", {args: "all", argsIgnorePattern: "^_"}],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "strict": ["error", "global"],
      "stylistic/array-bracket-spacing": ["error", "never"],
      "stylistic/arrow-parens": ["error", "always"],
      "stylistic/comma-dangle": ["error", "never"],
      "stylistic/eol-last": "error",
      "stylistic/max-len": ["error", {code: 130, ignoreUrls: true}],
      "stylistic/no-trailing-spaces": "error",
      "stylistic/object-curly-spacing": ["error", "never"],
      "stylistic/quotes": ["error", "double", {avoidEscape: true}],
      "stylistic/semi": ["error", "never"]
    }
  },
  {files: ["**/*.js"], languageOptions: {sourceType: "commonjs"}},
  {
    files: ["**/*.mjs", "examples/**/*.js"],
    languageOptions: {sourceType: "module"},
    rules: {strict: "off"}
  }
]
