"""The small network and its training written again, in float64 NumPy, from their description alone."""

import numpy as np

IMAGENET_MEAN, IMAGENET_SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_MEAN = np.array([103.939, 116.779, 123.68])
STRIDES = (2, 2, 2, 1)


def normalised(films, normalize):
    grey = np.repeat(np.asarray(films, np.float64)[..., None], 3, axis=-1)
    if normalize == "imagenet-rgb":
        return (grey - IMAGENET_MEAN) / IMAGENET_SD
    return 255 * grey - CAFFE_MEAN if normalize == "imagenet-caffe" else grey


def convolved(x, kernel, bias, stride):
    """3x3, one zero on every side: [N,h,w,K] -> [N,ceil(h/stride),ceil(w/stride),out]."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = (
        padded[:, row : row + height : stride, column : column + width : stride] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )
    return sum(taps) + bias


def features(tensors, films, normalize):
    x = normalised(films, normalize)
    for number, stride in enumerate(STRIDES, start=1):
        kernel, bias = (np.asarray(tensors[f"conv{number}/{v}"], np.float64) for v in ("kernel", "bias"))
        x = np.maximum(convolved(x, kernel, bias, stride), 0)
    return x


def logits(tensors, films, normalize="imagenet-rgb", head="gap"):
    x = features(tensors, films, normalize)
    embedding = x.mean(axis=(1, 2)) if head == "gap" else x.reshape(len(x), -1)
    return embedding @ np.asarray(tensors["head/kernel"], np.float64) + tensors["head/bias"]


def weighted_bce(logit, labels, weights):
    """Sum over findings, mean over films; unknown labels count nothing."""
    p = 1 / (1 + np.exp(-logit))
    terms = -np.where(labels == 1, weights[0] * np.log(p), weights[1] * np.log(1 - p))
    return np.where(np.isnan(labels), 0, terms).sum() / len(labels)


def weighted_bce_gradient(logit, labels, weights):
    """d weighted_bce / d logit, by hand: w_n p for a negative, w_p (p - 1) for a positive, over the films."""
    p = 1 / (1 + np.exp(-logit))
    slope = np.where(labels == 1, weights[0] * (p - 1), weights[1] * p)
    return np.where(np.isnan(labels), 0, slope) / len(labels)


def adam(value, gradient, m, v, step, rate):
    """One step of Kingma and Ba, Adam, ICLR 2015, in the efficient order of the end of section 2."""
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    paced = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return value - paced * m / (np.sqrt(v) + 1e-7), m, v
