// SPDX-License-Identifier: Apache-2.0
import { Flags } from '@oclif/core';
import { augmentProgress } from '../cli/figures.ts';
import { recordFlags } from '../cli/flags.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { createPixelPool } from '../pixels/pool.ts';
import { UsageError } from '../records/error.ts';
import { augment, replay } from '../stages/augment/index.ts';
import { recipeHelp } from '../stages/augment/recipe-help.ts';
import { parseViewSpecs } from '../stages/augment/view-spec.ts';

export default class Augment extends RecordCommand {
  static override summary = 'add distorted views of the images';
  static override description = `Each --op adds one view: a recipe, which draws its operations, or single operations
with given parameters; \`+\` chains them into one view. All take p= (the probability
of being applied) and name= (of the view). A number may be a range a..b to draw
from. Join lists with /: fill=122/116/104.

${recipeHelp()}`;
  static override usage = 'augment --op NAME[:k=v,...] [FILE...]';
  static override examples = [
    '<%= config.bin %> augment --op diffusion:step=800 prompts.ndjson',
    '<%= config.bin %> augment --op moco --op rrcrop+rotate:degrees=-30..30,fill=122/116/104 prompts.ndjson',
    '<%= config.bin %> augment --op diffusion:step=500,name=weak --op diffusion:step=900,name=strong --preview look --limit 20 prompts.ndjson',
    '<%= config.bin %> augment --replay --image-dir again augmented.ndjson',
  ];
  static override flags = {
    ...recordFlags,
    op: Flags.string({
      multiple: true,
      helpValue: 'NAME[:k=v,...]',
      summary: 'view to add; + chains operations into one view; may be repeated',
    }),
    'image-dir': Flags.string({
      helpValue: 'DIR',
      summary: 'write the images of the views as PNG files too, for other tools',
    }),
    preview: Flags.string({
      helpValue: 'DIR',
      summary: 'write every view as a PNG file, noise clipped to the visible range',
    }),
    replay: Flags.boolean({ summary: 'write the image files of recorded views, from their parameters' }),
  };

  async run(): Promise<void> {
    await this.runStage(Augment, (run) => {
      const { flags } = run;
      const { op: texts = [], 'image-dir': imageDir, preview: previewDir, replay: isReplay, seed, threads } = flags;
      const shared = {
        ...(imageDir !== undefined && { imageDir }),
        ...(previewDir !== undefined && { previewDir }),
        createPool: () => createPixelPool(threads),
      };
      if (isReplay) {
        if (texts.length > 0) throw new UsageError('--replay: expected no --op, the records have their operations');
        return replay(shared);
      }
      if (texts.length === 0)
        throw new UsageError('--op: expected at least one view to add (see vpref augment --help)');
      const views = parseViewSpecs(texts);
      run.showFigures(augmentProgress());
      return augment({ views, seed, ...shared });
    });
  }
}
