#!/bin/sh
# One file of a package of the npm registry: npm.sh DIRECTORY NAME VERSION sha512-CHECKSUM FILE.
set -e
dir=$1 name=$2 version=$3 sum=$4 file=$5
mkdir -p "$dir"
archive=$(cd "$dir" && npm pack --silent "$name@$version")
is=sha512-$(openssl dgst -sha512 -binary "$dir/$archive" | base64 -w 0)
if [ "$is" != "$sum" ]; then
    echo "npm.sh: $name@$version is $is, not $sum" >&2
    exit 1
fi
tar -xzOf "$dir/$archive" "package/$file" > "$dir/$file.new"
mv -f "$dir/$file.new" "$dir/$file"
