# SPDX-License-Identifier: Apache-2.0
"""Goldens of the losses from trl's own code: its trainers' methods, called on a stub with log-probabilities that are given.

    python scripts/goldens/trl_losses.py

Writes fixtures/golden/trl-losses.json: pairs and unpaired answers with their sums, and for each case trl's loss, its derivative with respect to every
sum (autograd), and the reward metrics it logs. Float64 throughout.
"""
import collections
import importlib.metadata
import json
import pathlib
import types
import warnings

import torch

warnings.filterwarnings("ignore")
from trl import DPOTrainer  # noqa: E402
from trl.experimental.bco.bco_trainer import BCOTrainer, RunningMoments  # noqa: E402
from trl.experimental.cpo import CPOTrainer  # noqa: E402
from trl.experimental.orpo import ORPOTrainer  # noqa: E402
from trl.trainer.kto_trainer import KTOTrainer  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[2] / "fixtures/golden/trl-losses.json"
PROMPT = 3  # tokens of every prompt
BETA = 0.1
torch.manual_seed(0)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def random_answers(n, low, high):
    """Per-token log-probabilities of n answers, and sums of a reference near them."""
    tokens = [torch.empty(int(torch.randint(low, high, ()))).uniform_(-3, -0.05) for _ in range(n)]
    return tokens, [float(t.sum() + torch.randn(()) * 4) for t in tokens]


def packed(answers):
    """Inputs and logits of a batch: with two words, a normalised pair of logits makes the label's log-probability what we say."""
    width = PROMPT + max(len(a) for a in answers)
    shape = (len(answers), width)
    mask = torch.zeros(shape, dtype=torch.long)
    attention = torch.zeros(shape, dtype=torch.long)
    logps = torch.full(shape, -0.6931471805599453)
    for row, answer in enumerate(answers):
        end = PROMPT + len(answer)
        mask[row, PROMPT:end] = 1
        attention[row, :end] = 1
        logps = torch.cat([logps[:row], torch.cat([logps[row, :PROMPT], answer, logps[row, end:]])[None], logps[row + 1 :]])
    logits = torch.stack([torch.log(-torch.expm1(logps)), logps], -1)
    shifted = torch.cat([logits[:, 1:], logits[:, -1:]], 1)  # position t speaks of token t + 1
    return {"input_ids": torch.ones(shape, dtype=torch.long), "attention_mask": attention, "completion_mask": mask}, shifted


class Accelerator:
    device = torch.device("cpu")
    use_distributed = False
    gather = gather_for_metrics = staticmethod(lambda x: x)


def stub(trainer, **settings):
    s = types.SimpleNamespace(accelerator=Accelerator(), model=types.SimpleNamespace(training=True), beta=BETA, _metrics={"train": collections.defaultdict(list)},
                              _total_train_tokens=0, _tp_size=1, aux_loss_enabled=False, is_encoder_decoder=False, args=types.SimpleNamespace(), **settings)
    for name in ("get_batch_logps", "cpo_loss", "odds_ratio_loss", "concatenated_forward"):
        if hasattr(trainer, name):
            method = getattr(trainer, name)
            setattr(s, name, method if name == "get_batch_logps" else types.MethodType(method, s))
    return s


def model_of(logits):
    return lambda *args, **kwargs: types.SimpleNamespace(logits=logits)


def derivative(leaves):
    """The derivative with respect to the sum: every token of an answer must have the same."""
    out = []
    for leaf in leaves:
        assert torch.allclose(leaf.grad, leaf.grad[:1].expand_as(leaf.grad), rtol=1e-9, atol=1e-15), leaf.grad
        out.append(float(leaf.grad[0]))
    return out


REWARDS = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"]

chosen, ref_chosen = random_answers(6, 2, 12)
rejected, ref_rejected = random_answers(6, 2, 12)


def leaves_of(answers):
    return [a.clone().requires_grad_() for a in answers]


def pair_case(ours, options, run):
    c, r = leaves_of(chosen), leaves_of(rejected)
    inputs, logits = packed([*c, *r])
    loss, metrics = run(inputs, logits)
    loss.backward()
    return {"loss_name": ours, "options": options, "loss": float(loss), "d_chosen": derivative(c), "d_rejected": derivative(r), "metrics": metrics}


def dpo(loss_types, weights=None, label_smoothing=0.0):
    def run(inputs, logits):
        s = stub(DPOTrainer, loss_types=loss_types, loss_weights=weights or [1.0] * len(loss_types), label_smoothing=label_smoothing, f_divergence_type="reverse_kl",
                 ld_alpha=None, precompute_ref_logps=True, use_weighting=False)
        batch = {**inputs, "ref_chosen_logps": torch.tensor(ref_chosen), "ref_rejected_logps": torch.tensor(ref_rejected)}
        loss = DPOTrainer._compute_loss(s, model_of(logits), batch, False)
        return loss, {k: s._metrics["train"][k][-1] for k in REWARDS}
    return run


def reference_free(trainer, **settings):
    def run(inputs, logits):
        labels = torch.where(inputs["completion_mask"] == 1, inputs["input_ids"], -100)
        whole = {"concatenated_input_ids": inputs["input_ids"], "concatenated_attention_mask": inputs["attention_mask"], "concatenated_labels": labels}
        s = stub(trainer, pad_token_id=0, padding_value=0, **settings)
        s.concatenated_inputs = lambda *args, **kwargs: whole
        loss, metrics = trainer.get_batch_loss_metrics(s, model_of(logits), {"chosen_labels": labels[: len(chosen)]})
        return loss, {}
    return run


def odds_ratio():
    """The odds-ratio term alone: trl adds the likelihood of prompt and answer, ours that of the answer."""
    def run(inputs, logits):
        labels = torch.where(inputs["completion_mask"] == 1, inputs["input_ids"], -100)
        means = ORPOTrainer.get_batch_logps(logits, labels, average_log_prob=True)
        losses = ORPOTrainer.odds_ratio_loss(stub(ORPOTrainer), means[: len(chosen)], means[len(chosen) :])[0]
        return -losses.mean(), {}
    return run


pairs = [
    pair_case("sigmoid", {}, dpo(["sigmoid"])),
    pair_case("hinge", {}, dpo(["hinge"])),
    pair_case("ipo-token-mean", {}, dpo(["ipo"])),
    pair_case("exo", {"label_smoothing": 0.1}, dpo(["exo_pair"], label_smoothing=0.1)),
    pair_case("nca", {}, dpo(["nca_pair"])),
    pair_case("robust", {"label_smoothing": 0.1}, dpo(["robust"], label_smoothing=0.1)),
    pair_case("apo-zero", {}, dpo(["apo_zero"])),
    pair_case("apo-down", {}, dpo(["apo_down"])),
    pair_case("bco-pair", {}, dpo(["bco_pair"])),
    pair_case("sigmoid-norm", {}, dpo(["sigmoid_norm"])),
    pair_case("mpo", {}, dpo(["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0])),
    pair_case("sft", {}, dpo(["sft"])),
    pair_case("sigmoid:1,sft:0.1", {}, dpo(["sigmoid", "sft"], [1.0, 0.1])),
    pair_case("simpo", {"simpo_gamma": 0.5}, reference_free(CPOTrainer, loss_type="simpo", simpo_gamma=0.5, cpo_alpha=0, alpha=0.0, label_smoothing=0.0)),
    pair_case("simpo", {"simpo_gamma": 0.3, "label_smoothing": 0.1}, reference_free(CPOTrainer, loss_type="simpo", simpo_gamma=0.3, cpo_alpha=0, alpha=0.0, label_smoothing=0.1)),
    pair_case("cpo", {"cpo_alpha": 1.0}, reference_free(CPOTrainer, loss_type="sigmoid", cpo_alpha=1.0, alpha=0.0, label_smoothing=0.0)),
    pair_case("cpo", {"cpo_alpha": 0.0, "label_smoothing": 0.1}, reference_free(CPOTrainer, loss_type="sigmoid", cpo_alpha=0, alpha=0.0, label_smoothing=0.1)),
    pair_case("odds-ratio", {"orpo_lambda": BETA}, odds_ratio()),
]

# What trl does that we do not, kept so that a test sees it stay so.
smoothed = pair_case("sigmoid", {"label_smoothing": 0.1}, dpo(["sigmoid"], label_smoothing=0.1))
orpo = pair_case("orpo", {"orpo_lambda": BETA}, reference_free(ORPOTrainer))

answers, ref_answers = random_answers(8, 2, 12)
labels = [True, False, True, True, False, False, True, False]


def kto(offset, desirable, undesirable):
    leaves = leaves_of(answers)
    inputs, logits = packed(leaves)
    mismatched = torch.full((len(answers),), float(offset))
    s = stub(KTOTrainer, loss_type="kto", calculate_KL=True, precompute_ref_logps=True, desirable_weight=desirable, undesirable_weight=undesirable)
    s._compute_kl_logps = lambda model, batch: mismatched
    batch = {**inputs, "label": torch.tensor(labels), "ref_logps": torch.tensor(ref_answers), "ref_KL_logps": torch.zeros(len(answers))}
    loss = KTOTrainer._compute_loss(s, model_of(logits), batch, False)
    loss.backward()
    metrics = s._metrics["train"]
    return {"loss_name": "kto", "options": {"desirable_weight": desirable, "undesirable_weight": undesirable}, "kl": metrics["kl"][-1], "loss": float(loss), "d_chosen": derivative(leaves)}


def bco(unpaired):
    """Batches one after the other through BCOTrainer, with the running mean it keeps; the last as its evaluation does. trl's loss is the mean over answers, so of a
    pair it is half of what we add up."""
    torch.Tensor.float = torch.Tensor.double  # trl rounds the mean of a batch to f32
    s = stub(BCOTrainer, match_underlying_distribution=False, running=RunningMoments(accelerator=Accelerator()))
    out = []
    for training in (True, True, True, False):
        size = 5
        all_tokens, refs = random_answers(size, 2, 12) if unpaired else random_answers(2 * size, 2, 12)
        wanted = [i % 3 != 0 if unpaired else i < size for i in range(len(refs))]
        leaves = leaves_of(all_tokens)
        sums, ref = torch.stack([leaf.sum() for leaf in leaves]), torch.tensor(refs)
        yes = torch.tensor(wanted)
        losses, _, _, delta = BCOTrainer.bco_loss(s, sums[yes], sums[~yes], ref[yes], ref[~yes], None, None, do_train=training)
        loss = losses.nanmean() * (1 if unpaired else 2)
        loss.backward()
        b, d = branches(all_tokens, refs), derivative(leaves)
        records = [{"chosen": one, "label": w} for one, w in zip(b, wanted)] if unpaired else [{"chosen": c, "rejected": r} for c, r in zip(b[:size], b[size:])]
        sides = {"d_chosen": d} if unpaired else {"d_chosen": d[:size], "d_rejected": d[size:]}
        out.append({"loss_name": "bco", "options": {}, "training": training, "records": records, "delta": float(delta), "loss": float(loss), **sides})
    return {"batches": out}


def branches(all_tokens, refs):
    return [{"policy": float(t.sum()), "ref": ref, "num_tokens": len(t)} for t, ref in zip(all_tokens, refs)]


versions = {p: importlib.metadata.version(p) for p in ["torch", "transformers", "trl"]}
golden = {
    "versions": versions,
    "beta": BETA,
    "chosen": branches(chosen, ref_chosen),
    "rejected": branches(rejected, ref_rejected),
    "pairs": pairs,
    "differences": {"sigmoid, label_smoothing 0.1": smoothed, "orpo": orpo},
    "answers": [{**b, "label": label} for b, label in zip(branches(answers, ref_answers), labels)],
    "kto": [kto(1.5, 1.0, 1.0), kto(-1.5, 1.2, 0.7)],
    "bco": [bco(unpaired=False), bco(unpaired=True)],
}
OUT.write_text(json.dumps(golden, indent=1) + "\n")
for case in [*pairs, smoothed, orpo, *golden["kto"], *(batch for run in golden["bco"] for batch in run["batches"])]:
    print(case["loss_name"], case["options"], case["loss"])
