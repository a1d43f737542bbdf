#!/bin/sh
# Clones a package from a git repository by an object kept in another package,
# renders it with builtin functions, and runs again to show that nothing is left
# to do. Needs go and git; no network, no container engine.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n%s\n' "$*"; }

say '# build stoop'
CGO_ENABLED=0 go build -trimpath -o "$work/bin/stoop" .
PATH=$work/bin:$PATH
stoop version

say '# an upstream git repository with one tagged package'
cp -R examples/upstream "$work/upstream"
git init -q -b main "$work/upstream"
git -C "$work/upstream" add .
git -C "$work/upstream" -c commit.gpgsign=false -c user.name=demo -c user.email=demo@example.com commit -q -m 'redis v1'
git -C "$work/upstream" tag redis/v1
git -C "$work/upstream" log --oneline --decorate

say '# a downstream package that asks for a clone of it: redis.yaml'
cp -R examples/downstream "$work/shop"
cd "$work"
cat shop/redis.yaml

say '# stoop run shop --allow-file-repos=.'
stoop run shop --allow-file-repos=.

say '# the tree'
find shop -type f | sort

say '# shop/redis/Kptfile'
cat shop/redis/Kptfile

say '# shop/redis/statefulset.yaml: setters, namespace and labels are in, comments kept'
cat shop/redis/statefulset.yaml

say '# what a second run would change: stoop run shop --check --diff'
stoop run shop --check --diff
echo nothing
