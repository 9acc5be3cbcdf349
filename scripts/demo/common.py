# SPDX-License-Identifier: Apache-2.0
"""Shared pieces: loading, pixel preparation, batched greedy/sampled generation, losses."""
import json

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, LlavaForConditionalGeneration

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
PREFIX = "USER: <image>\n"


def pixels(u8):
    """uint8 [B,128,128,3] -> CLIP-normalised float [B,3,128,128] (the images already have the model's size)."""
    return (torch.from_numpy(np.ascontiguousarray(u8)).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def load(path):
    return LlavaForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(path)


def read_jsonl(path):
    return [json.loads(line) for line in open(path)]


class Coder:
    """Token ids of the shared image prefix, of questions and of answers."""

    def __init__(self, tok):
        self.tok, self.image, self.pad = tok, tok.convert_tokens_to_ids("<image>"), tok.pad_token_id
        ids = tok(PREFIX + "x").input_ids
        i, j = ids.index(self.image), len(tok(PREFIX).input_ids)
        self.prefix = ids[:i] + [self.image] * 64 + ids[i + 1:j]
        self.skip = j
        self.cache = {}

    def pair(self, q, a):
        key = (q, a)
        if key not in self.cache:
            full = self.tok(f"{PREFIX}{q} ASSISTANT: {a}").input_ids[self.skip:] + [self.tok.eos_token_id]
            n = len(self.tok(f"{PREFIX}{q} ASSISTANT:").input_ids) - self.skip
            if len(self.cache) > 400000:
                self.cache.clear()
            self.cache[key] = (full[:n], full[n:])
        return self.cache[key]

    def prompt(self, q):
        return self.prefix + self.tok(f"{PREFIX}{q} ASSISTANT:").input_ids[self.skip:]


def image_features(model, pix):
    """Patch features of the last-but-one vision layer, projected (LLaVA-1.5's 'default' strategy at layer -2)."""
    return model.model.multi_modal_projector(model.model.vision_tower(pix, output_hidden_states=True).hidden_states[-2][:, 1:])


def embed(model, coder, ids, feats):
    e = model.get_input_embeddings()(ids.clamp_max(model.config.text_config.vocab_size - 1))
    return e.masked_scatter((ids == coder.image).unsqueeze(-1), feats.to(e.dtype))


@torch.no_grad()
def generate(model, coder, pix, questions, max_new=60, temperature=0.0, batch=128, gen=None):
    """Batched decoding with left padding; greedy, or sampled when temperature > 0."""
    out = [None] * len(questions)
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    lm, head, eos = model.model.language_model, model.lm_head, coder.tok.eos_token_id
    for s in range(0, len(order), batch):
        idx = order[s:s + batch]
        rows = [coder.prompt(questions[i]) for i in idx]
        n = max(map(len, rows))
        ids = torch.tensor([[coder.pad] * (n - len(r)) + r for r in rows])
        mask = (torch.arange(n)[None] >= torch.tensor([[n - len(r)] for r in rows])).long()
        px = pix(idx) if callable(pix) else pix[idx]
        x, past = embed(model, coder, ids, image_features(model, px)), None
        done, toks = torch.zeros(len(idx), dtype=torch.bool), []
        pos = (mask.cumsum(-1) - 1).clamp_min(0)
        for _ in range(max_new):
            o = lm(inputs_embeds=x, attention_mask=mask, position_ids=pos, past_key_values=past, use_cache=True)
            past = o.past_key_values
            logits = head(o.last_hidden_state[:, -1]).float()
            if temperature > 0:
                t = torch.multinomial(F.softmax(logits / temperature, -1), 1, generator=gen)[:, 0]
            else:
                t = logits.argmax(-1)
            t = torch.where(done, torch.full_like(t, coder.pad), t)
            toks.append(t)
            done |= t == eos
            if done.all():
                break
            x = model.get_input_embeddings()(t)[:, None]
            mask = torch.cat([mask, torch.ones(len(idx), 1, dtype=mask.dtype)], 1)
            pos = pos[:, -1:] + 1
        toks = torch.stack(toks, 1)
        for k, i in enumerate(idx):
            out[i] = coder.tok.decode([int(t) for t in toks[k] if int(t) not in (coder.pad, eos)]).strip()
    return out


def packed_batch(coder, qas):
    """Several questions per image in one row: shared image prefix, branches that do not see one another.
    qas: per image a list of (question, answer). Returns ids, 4-D boolean mask, positions, and the answer targets (-100 elsewhere)."""
    P, rows = len(coder.prefix), []
    for pairs in qas:
        ids, branch, pos, tgt = list(coder.prefix), [0] * P, list(range(P)), [-100] * P
        for b, (q, a) in enumerate(pairs, 1):
            qi, ai = coder.pair(q, a)
            ids += qi + ai
            branch += [b] * (len(qi) + len(ai))
            pos += range(P, P + len(qi) + len(ai))
            tgt += [-100] * len(qi) + ai
        rows.append((ids, branch, pos, tgt))
    n = max(len(r[0]) for r in rows)
    pad = lambda k, v: torch.tensor([r[k] + [v] * (n - len(r[0])) for r in rows])
    ids, branch, pos, tgt = pad(0, coder.pad), pad(1, -1), pad(2, 0), pad(3, -100)
    same = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    mask = (same & torch.ones(n, n, dtype=torch.bool).tril())[:, None]
    return ids, mask, pos, tgt, branch


def answer_logps(model, coder, feats, qas, reduce="branch"):
    """Log-probabilities of the answers. 'branch': summed per (image, branch) -> [B, n]; 'mean': mean token loss."""
    ids, mask, pos, tgt, branch = packed_batch(coder, qas)
    x = embed(model, coder, ids, feats)
    m4 = torch.zeros(mask.shape, dtype=x.dtype).masked_fill_(~mask, torch.finfo(x.dtype).min)
    h = model.model.language_model(inputs_embeds=x, attention_mask=m4, position_ids=pos, use_cache=False).last_hidden_state
    want = tgt[:, 1:] != -100
    logits = model.lm_head(h[:, :-1][want]).float()
    lp = -F.cross_entropy(logits, tgt[:, 1:][want], reduction="none")
    if reduce == "mean":
        return lp.mean()
    nb = max(len(q) for q in qas)
    where = torch.nonzero(want)[:, 0] * nb + branch[:, 1:][want] - 1
    return torch.zeros(len(qas) * nb).index_add(0, where, lp).view(len(qas), nb)
