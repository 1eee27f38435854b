#!/bin/sh
# Builds and tries what is shipped for Linux, inside a container whose C library decides where it runs: an old glibc, or
# musl. Called by the release workflow, with the checkout as working directory.
set -eu

if command -v apk >/dev/null; then
  apk add --no-cache musl-dev nodejs npm
else
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
  PATH="$HOME/.cargo/bin:$PATH"
  case "$(uname -m)" in x86_64) processor=x64 ;; *) processor=arm64 ;; esac
  version=$(curl -sSf https://nodejs.org/dist/index.tab | awk '$1 ~ /^v20\./ {print $1; exit}')
  curl -sSf "https://nodejs.org/dist/$version/node-$version-linux-$processor.tar.gz" | tar -xz -C /opt
  PATH="/opt/node-$version-linux-$processor/bin:$PATH"
fi
export PATH

npm ci --no-audit --no-fund
node scripts/build.mjs --dist
node --test tests/installed.test.js tests/launcher.test.js tests/commands.test.js
