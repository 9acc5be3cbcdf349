// SPDX-License-Identifier: Apache-2.0
// Opens the sink of -o: stdout, a device, or a file.
import { UsageError } from '../records/error.ts';
import { DeviceSink, isDevice } from './device-sink.ts';
import { FileSink, type FileSinkOptions, type TableOptions } from './file-sink.ts';
import type { Sink } from './sink.ts';
import { StdoutSink } from './stdout.ts';

/** The sink of records. */
export async function openSink(path: string | undefined, options: Omit<FileSinkOptions, 'path'>): Promise<Sink> {
  if (path === undefined || path === '-') {
    if (options.resume) throw new UsageError('--resume: expected -o FILE, the file to resume');
    return new StdoutSink();
  }
  return isDevice(path) ? new DeviceSink(path) : FileSink.open({ path, ...options });
}

/** The sink of rows that are not records. */
export function openTableSink(path: string | undefined, options: TableOptions = {}): Sink {
  if (path === undefined || path === '-') {
    if (options.resume) throw new UsageError('--resume: expected -o FILE, the file to resume');
    return new StdoutSink();
  }
  return isDevice(path) ? new DeviceSink(path) : FileSink.openTable(path, options);
}
