#!/bin/bash
# Scores a folder of films in 16 partitions, one a task of a Slurm array, into OUT.h5.partitions/part-1.h5 and so on.
#
#   sbatch slurm.sh FILMS OUT.h5 [options of score]
#   sbatch --dependency=afterok:JOB --wrap 'cxrscore merge OUT.h5.partitions/part-*.h5 -o OUT.h5'
#
# A task that was killed goes on where it was: sbatch --array=3 slurm.sh FILMS OUT.h5 does partition 3 of 16 again.
# For another number of partitions change both --array and partitions below. FILMS and OUT.h5 must be the same for all nodes.
# With a GPU for each task, add a line with --gres=gpu:1.
#SBATCH --job-name=cxrscore
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=cxrscore-%A-%a.log
set -euo pipefail

partitions=16
films=${1:?wanted the folder of films}
output=${2:?wanted the scores file to make}
shift 2

partition=$SLURM_ARRAY_TASK_ID
cores=${SLURM_CPUS_PER_TASK:-1}
export OMP_NUM_THREADS=$cores
mkdir -p "$output.partitions"
code=0
cxrscore score "$films" -o "$output.partitions/part-$partition.h5" --shard "$partition/$partitions" --workers "$cores" --quiet "$@" ||
    code=$?
# 3: it is done, but some films could not be read. Those are rows with a status, and no reason to try again.
[ "$code" -eq 3 ] && code=0
exit "$code"
