#!/bin/sh
# A training script without Python: logistic regression in awk. bsscale starts it once a run, tells it
# its rate, batch, seed and budget in the environment, and reads the lines of JSON that it prints:
#
#   python -m bsscale trainer=script 'trainer.command="sh examples/awk_loop.sh"' metric=log_loss \
#       base_lr=0.3 micro_batch=16 budget_samples=16384 target=0.5
#
# That is one rate for the whole run. With {rates} at the end of the command, it takes the rate of each
# update from a file, whatever the schedule is.
exec awk '
function normal() { return sqrt(-2 * log(1 - rand())) * cos(6.2831853 * rand()) }
function logit(row,   f, sum) {
    for (f = 1; f <= fields; f++) sum += weight[f] * x[row, f]
    return sum
}
function log_loss(   row, sum, z) {  # on the rows that are held out
    for (row = train; row < rows; row++) {
        z = (2 * label[row] - 1) * logit(row)
        sum += z > -30 ? log(1 + exp(-z)) : -z
    }
    return sum / (rows - train)
}
BEGIN {
    lr = ENVIRON["BSSCALE_LR"]; batch = ENVIRON["BSSCALE_GLOBAL_BATCH"]
    budget = ENVIRON["BSSCALE_BUDGET_SAMPLES"]; grid = ENVIRON["BSSCALE_EVAL_INTERVAL_SAMPLES"]
    fields = 8; train = 4096; rows = 5120
    srand(1)  # the same data in every run
    for (f = 1; f <= fields; f++) teacher[f] = normal()
    for (row = 0; row < rows; row++) {
        z = 0
        for (f = 1; f <= fields; f++) z += teacher[f] * (x[row, f] = normal())
        label[row] = rand() < 1 / (1 + exp(-z))
    }
    srand(ENVIRON["BSSCALE_SEED"] + 2)
    rates = ENVIRON["BSSCALE_RATES"]  # lines of step,lr,momentum, after one with these words
    if (rates) getline line <rates
    while (samples < budget) {
        if (rates) { getline line <rates; split(line, part, ","); lr = part[2] }
        for (f = 1; f <= fields; f++) gradient[f] = 0
        for (k = 0; k < batch; k++) {
            row = int(train * rand())
            error = 1 / (1 + exp(-logit(row))) - label[row]
            for (f = 1; f <= fields; f++) gradient[f] += error * x[row, f] / batch
        }
        for (f = 1; f <= fields; f++) weight[f] -= lr * gradient[f]
        before = samples; samples += batch
        if (int(samples / grid) > int(before / grid) || samples >= budget) {
            printf "{\"samples\": %d, \"log_loss\": %.6f, \"lr\": %.9g}\n", samples, log_loss(), lr
            fflush()
        }
    }
}'
