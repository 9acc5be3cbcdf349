// SPDX-License-Identifier: Apache-2.0
import { outputFlags } from '../cli/flags.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { examine } from '../stages/doctor.ts';

export default class Doctor extends RecordCommand {
  static override summary = 'say what this machine can run';
  static override description =
    'One row per check: name, ok, detail, and what to do where ok is false. The exit code is 0 also when a check fails.';
  static override usage = 'doctor [-o FILE]';
  static override examples = ['<%= config.bin %> doctor'];
  static override flags = { ...outputFlags };

  async run(): Promise<void> {
    await this.runTable(Doctor, () => examine());
  }
}
