import { openFixture, DEMO } from '/work/wt/face/test/support/native.ts';
const model = await openFixture(DEMO);
if (process.argv[2] !== 'noscore') console.log(await model.policy.score({ promptIds: Int32Array.of(1, 5), images: [], branches: [Int32Array.of(5)] }));
if (process.argv[2] !== 'noclose') await model.close();
console.log('end');
