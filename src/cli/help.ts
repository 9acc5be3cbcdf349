// SPDX-License-Identifier: Apache-2.0
// --help: oclif's pages, with verbs in the order of the pipeline and flags in groups.
import { type Command, CommandHelp, Help } from '@oclif/core';
import { groupFlags, STAGES } from './flag-groups.ts';

type Render = (text: string) => string;

/** Most texts have no `<%= config.bin %>`: their templates are not compiled, a tenth of the time of --help. */
const renderIfTagged =
  (render: Render): Render =>
  (text) =>
    text.includes('%') ? render(text) : text;

class GroupedCommandHelp extends CommandHelp {
  constructor(...args: ConstructorParameters<typeof CommandHelp>) {
    super(...args);
    this.render = renderIfTagged(this.render);
  }

  protected override groupFlags(flags: Command.Flag.Any[]) {
    const groups = groupFlags(this.command.id, flags);
    const named = groups.filter(({ group }) => group !== undefined);
    return {
      mainFlags: groups.find(({ group }) => group === undefined)?.flags ?? [],
      flagGroups: Object.fromEntries(named.map((part) => [part.group!, part.flags])),
    };
  }
}

export default class PipelineHelp extends Help {
  protected override CommandHelpClass = GroupedCommandHelp;

  constructor(...args: ConstructorParameters<typeof Help>) {
    super(...args);
    this.render = renderIfTagged(this.render);
  }

  protected override formatCommands(commands: Command.Loadable[]): string {
    return STAGES.map(({ stage, verbs }) => {
      const rows = verbs.flatMap((verb): [string, string | undefined][] => {
        const command = commands.find(({ id }) => id === verb);
        return command === undefined ? [] : [[verb.padEnd(14), this.summary(command)]];
      });
      const body = this.renderList(rows, { indentation: 2, spacer: '\n', stripAnsi: this.opts.stripAnsi ?? false });
      return this.section(stage.toUpperCase(), body);
    }).join('\n\n');
  }

  protected override async showRootHelp(): Promise<void> {
    await super.showRootHelp();
    this.log(
      'vpref VERB --help: flags and examples.  man vpref-VERB: the full manual.  man vpref-pipelines: whole pipelines.',
    );
  }
}
