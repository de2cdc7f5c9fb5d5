#!/bin/sh
# Builds felix-api-proxy: in the image, and beside its source for a checkout. Usage: build.sh [FILE]
set -eu
here=$(dirname "$0")
exec "${CC:-cc}" -Os -static -s -Wall -Wextra -Werror -o "${1:-$here/felix-api-proxy}" "$here/felix-api-proxy.c"
