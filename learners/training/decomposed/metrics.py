"""Metrics of DMML and its kin, each with a line of explanation."""

LOSSES = {
    "loss_task": "cross-entropy of the prediction in training, mean over the round's iterations",
    "loss_total": "what training minimised (eq. 12), mean over the round's iterations",
}
DISTILLATION_LOSSES = {
    "loss_similarity": "F_sim (eq. 6): distance between the modalities' common predictions",
    "loss_auxiliary": "F_cls (eq. 8): cross-entropy of the common predictions",
    "loss_difference": "F_dif (eq. 9): overlap of common and specific features",
    "loss_distillation": "F_kd (eq. 16): distance of common predictions to those of generated features",
    "loss_generator": "F_gen (eq. 14), mean over the round's generator iterations",
}
VARIATIONS = {
    "variation": "relative change of a modality's extractor by the whole round, ‖W_t − W_{t−1}‖/‖W_t‖ (eq. 18)",
    "variation_local": "φ_kk: the same by the device's own training, ‖w_t − W_{t−1}‖/‖W_t‖; never under a server",
}
EVALUATED = {
    "accuracy": "test accuracy; per modality it is that of the modality's own logits (eq. 27)",
    "loss_test": "cross-entropy of the prediction on the test samples",
}
BALANCE = {
    "gamma": "γ of a modality in the coming round (eq. 19), with the iterations that Algorithm 2 decided",
    "gamma_full": "γ of a modality if nothing were cut, with N^max iterations everywhere",
    "balance_unreachable": "1 where a modality exceeds the slowest's γ with all its devices cut to zero, else 0",
}
