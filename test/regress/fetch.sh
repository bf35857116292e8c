#!/bin/sh
# Brings the SQL of Postgres' regression suite to a folder: sh test/regress/fetch.sh FOLDER
# It comes with Debian's source package of the installed server (or of VERSION), by apt with source entries of its own,
# so nothing of the system's configuration changes. Nothing of it is part of this project.
set -eu
target=${1:?usage: fetch.sh FOLDER [VERSION]}
version=${2:-15.18-0+deb12u1}
name=postgresql-${version%%.*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial" "$work/files" "$target"
: > "$work/sources.list"
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" > "$work/parts/$(basename "$file")"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$file" ] && sed -n 's/^deb /deb-src /p' "$file" >> "$work/sources.list"
done
quiet="-qq -o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=$work/parts -o Dir::State::Lists=$work/lists"
# shellcheck disable=SC2086
apt-get $quiet -o APT::Sandbox::User=root update
cd "$work/files"
# shellcheck disable=SC2086
apt-get $quiet source --download-only "$name=$version"
tar -xf "$name"*.orig.tar.* -C "$work" --wildcards '*/src/test/regress/*'
cp -R "$work"/postgresql-*/src/test/regress/. "$target"
echo "$(ls "$target"/sql/*.sql | wc -l) scripts of $name $version are in $target/sql"
