#!/bin/bash
# Scores a folder of films in partitions on this machine, some at a time, and merges them.
#
#   parallel.sh PARTITIONS AT_A_TIME FILMS OUT.h5 [options of score]
#
# Started again after a stop, the same line goes on where it was. It uses GNU parallel where that is installed, else
# xargs. GNU parallel can also start partitions on other machines that mount the same folders: see its --sshlogin.
set -euo pipefail

partitions=${1:?wanted the number of partitions}
jobs=${2:?wanted how many partitions are scored at a time}
films=${3:?wanted the folder of films}
output=${4:?wanted the scores file to make}
shift 4

cores=$(($(nproc) / jobs))
cores=$((cores > 0 ? cores : 1))
export OMP_NUM_THREADS=$cores

# One partition: number, then the command line that all have in common.
one_partition() {
    local partition=$1 code=0
    shift
    "$@" -o "$PARTS/part-$partition.h5" --shard "$partition/$PARTITIONS" || code=$?
    # 3: it is done, but some films could not be read. Those are rows with a status.
    [ "$code" -eq 3 ] && code=0
    return "$code"
}
export -f one_partition
export SHELL=$BASH # GNU parallel asks it, and only bash knows the function
export PARTS="$output.partitions" PARTITIONS="$partitions"
mkdir -p "$PARTS"

score=(cxrscore score "$films" --workers "$cores" --quiet "$@")
if parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
    seq "$partitions" | parallel --quote --jobs "$jobs" one_partition {} "${score[@]}" || exit 1
else
    seq "$partitions" | xargs -P "$jobs" -I{} bash -c 'one_partition "$@"' one_partition {} "${score[@]}" || exit 1
fi
cxrscore merge "$PARTS"/part-*.h5 -o "$output" --quiet
