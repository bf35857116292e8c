#!/bin/sh
# Makes regress.so, the library of C functions that Postgres' regression suite loads, beside the ones of Debian's
# that it needs too: sh test/regress/build.sh SUITE FOLDER [VERSION]. The headers come with Debian's package of
# that version and are unpacked, not installed. Nothing of it is part of this project.
set -eu
suite=${1:?usage: build.sh SUITE FOLDER [VERSION]}
target=${2:?usage: build.sh SUITE FOLDER [VERSION]}
version=${3:-15.18-0+deb12u1}
major=${version%%.*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"
cp "$suite/regress.c" "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "postgresql-server-dev-$major=$version"
dpkg-deb -x "postgresql-server-dev-$major"_*.deb headers
cc -O1 -fPIC -shared -fno-strict-aliasing -fwrapv -I "headers/usr/include/postgresql/$major/server" \
  -o "$target/regress.so" regress.c
for name in refint autoinc; do cp "/usr/lib/postgresql/$major/lib/$name.so" "$target"; done
