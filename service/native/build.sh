#!/bin/sh
# Compiles Argon2 for the instruction sets of newer processors, into one library that chooses.
#
#   build.sh SDIST FOLDER
#
# SDIST is the source of argon2-cffi-bindings as PyPI has it, which has the reference implementation
# in it; FOLDER is where `libargon2.so` goes: `lib/lalepass` of the environment of the service, which
# finds it there. Needs a C compiler (GCC 12 or Clang 18, or newer). On other processors than x86-64
# there is nothing to do.
set -eu
sdist=$1
folder=$2
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$folder"
case $(uname -m) in
    x86_64 | amd64) ;;
    *)
        echo "argon2: nothing to build for $(uname -m): libsodium it is"
        exit
        ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$sdist" -C "$work" --strip-components=1
reference=$work/extras/libargon2

# One lane after the other (ARGON2_NO_THREADS): a hash has one core.
compile() { # $1: object, $2: source, then flags
    object=$1 source=$2
    shift 2
    "${CC:-cc}" -c -O3 -fPIC -fvisibility=default -DARGON2_NO_THREADS -fstack-protector-strong \
        -I"$reference/include" -I"$reference/src" "$@" -o "$work/$object.o" "$source"
}
for name in argon2 core encoding blake2/blake2b; do
    compile "$(basename "$name")" "$reference/src/$name.c"
done
for level in 3 4; do
    compile "reference_$level" "$reference/src/opt.c" \
        -march=x86-64-v$level -Dfill_segment=reference_fill_segment_$level
    compile "fill_$level" "$here/fill.c" -march=x86-64-v$level -DLEVEL=$level -Wall -Wextra -Werror
done
for name in memory dispatch; do
    compile "$name" "$here/$name.c" -Wall -Wextra -Werror
done
"${CC:-cc}" -shared -Wl,-Bsymbolic -Wl,-z,defs -Wl,-z,now -Wl,--wrap=malloc,--wrap=free \
    -o "$folder/libargon2.so" "$work"/*.o -pthread
echo "argon2: made $folder/libargon2.so"
