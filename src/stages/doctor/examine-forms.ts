// SPDX-License-Identifier: Apache-2.0
// In which form a model fits into the memory of each device: as stored, or with its linear layers packed. Nothing is read but configuration and headers.
import { loadBinding } from '../../engine/binding.ts';
import { fromEngineNow } from '../../engine/engine-error.ts';
import { type FormPlan, planForm } from '../../engine/form-plan.ts';
import type { PolicyOptions } from '../../engine/policy.ts';
import type { Quantize } from '../../engine/requests.ts';
import { RunError } from '../../records/error.ts';
import { type Check, gibibytes } from './check.ts';
import { pairOf, type StepPicture, type StepToExamine } from './examine-step.ts';

/** A row of the table, for programs too. */
export interface FormCheck extends Check {
  form: Quantize;
  device: 'cpu' | 'cuda';
  weight_bytes: number;
  sampling_bytes: number;
  step_bytes: number;
  memory_bytes: number;
}

const FORMS = ['none', 'int8', 'nf4'] as const;

const OLD_ROUNDING =
  'bitsandbytes before 0.50 rounds these weights to their stored dtype, so its log-probabilities differ slightly';

/** One row for each form and device. Throws UsageError as pairOf does. */
export function* examineForms(
  options: Omit<PolicyOptions, 'tokenBytes'>,
  step: StepToExamine,
  picture: StepPicture | undefined,
): Generator<Check | FormCheck> {
  const { pair, sizes } = pairOf(step, picture);
  const asked = {
    settings: step.settings,
    pair,
    cachedTokens: pair.rows - step.responseTokens,
    memoryLimit: step.memoryLimit,
  };
  for (const device of devices(options.device)) {
    for (const form of FORMS) {
      try {
        const plan = planForm({ ...options, quantize: form }, device, asked);
        yield formRow(form, device, plan, sizes);
        // What is packed already is not packed again.
        if (plan.stored !== 'none') break;
      } catch (cause) {
        if (!(cause instanceof RunError)) throw cause;
        yield { check: 'form', ok: false, detail: `${form} on ${device}: ${cause.message}`, remedy: 'see the message' };
      }
    }
  }
}

function formRow(form: Quantize, device: 'cpu' | 'cuda', plan: FormPlan, sizes: string): FormCheck {
  const { samplingBytes, stepBytes, memoryBytes, weightBytes, level, stored, storedDtype, dtype } = plan;
  const said = (bytes: number) => `${gibibytes(bytes)} ${bytes <= memoryBytes ? 'fits' : 'does not fit'}`;
  const isPacked = stored !== 'none';
  const held = form !== 'none' ? `--quantize ${form}` : `as stored (${isPacked ? stored : storedDtype})`;
  const ok = samplingBytes <= memoryBytes;
  return {
    check: 'form',
    ok,
    detail:
      `${held}, ${dtype} on ${device}, ${gibibytes(memoryBytes)} of memory: weights ${gibibytes(weightBytes)}; ` +
      `sampling ${said(samplingBytes)}; DPO step ${said(stepBytes)} at recompute level ${level} (${sizes})` +
      (isPacked ? `; ${OLD_ROUNDING}` : ''),
    ...(!ok && { remedy: 'another form, or a machine with more memory' }),
    form,
    device,
    weight_bytes: weightBytes,
    sampling_bytes: samplingBytes,
    step_bytes: stepBytes,
    memory_bytes: memoryBytes,
  };
}

/** The CPU, and a GPU that answers. */
function devices(asked: 'auto' | 'cpu' | 'cuda'): ('cpu' | 'cuda')[] {
  if (asked !== 'auto') return [asked];
  const { binding } = loadBinding('auto');
  if (!binding.buildInfo().backends.includes('cuda')) return ['cpu'];
  try {
    fromEngineNow(() => binding.probeDevice('cuda'));
    return ['cpu', 'cuda'];
  } catch {
    return ['cpu'];
  }
}
