#!/bin/bash
# Scores a folder of films in shares on this machine, some at a time, and merges them.
#
#   parallel.sh SHARES AT_A_TIME FILMS OUT.h5 [options of score]
#
# Started again after a stop, the same line goes on where it was. It uses GNU parallel where that is installed, else
# xargs. GNU parallel can also start shares on other machines that mount the same folders: see its --sshlogin.
set -euo pipefail

shares=${1:?wanted the number of shares}
jobs=${2:?wanted how many shares are scored at a time}
films=${3:?wanted the folder of films}
output=${4:?wanted the scores file to make}
shift 4

cores=$(($(nproc) / jobs))
cores=$((cores > 0 ? cores : 1))
export OMP_NUM_THREADS=$cores

# One share: number, then the command line that all have in common.
one_share() {
    local share=$1 code=0
    shift
    "$@" -o "$PARTS/part-$share.h5" --shard "$share/$SHARES" || code=$?
    # 3: it is done, but some films could not be read. Those are rows with a status.
    [ "$code" -eq 3 ] && code=0
    return "$code"
}
export -f one_share
export SHELL=$BASH # GNU parallel asks it, and only bash knows the function
export PARTS="$output.shares" SHARES="$shares"
mkdir -p "$PARTS"

score=(cxrscore score "$films" --workers "$cores" --quiet "$@")
if parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
    seq "$shares" | parallel --quote --jobs "$jobs" one_share {} "${score[@]}" || exit 1
else
    seq "$shares" | xargs -P "$jobs" -I{} bash -c 'one_share "$@"' one_share {} "${score[@]}" || exit 1
fi
cxrscore merge "$PARTS"/part-*.h5 -o "$output" --quiet
