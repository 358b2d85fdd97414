// Package mapreduce computes something from much data: one job, written once as
// a few typed functions, runs on all cores, on workers over TCP, or on Hadoop.
//
// Start with a [Job] and [Local.Run]; the example below counts words. A job reads
// an [Input] ([Files], folders too, or a [Reader]) and writes an [Output] ([File]
// or [Writer]). A [Local] runs it in this process. A [Master] and any number of
// [Worker] programs run it on several machines, and go on when workers die. A
// [Hadoop] makes of it the programs that Hadoop Streaming starts, and a [Stream]
// makes a job of such programs. [Steps] runs one job after another. The output
// has the same bytes whichever way it is made.
//
// # The idea
//
// To count the words of a library, let each friend take a shelf. Reading a shelf
// needs no other shelf: that is map, from a record (a line) to pairs of a key and
// a value ("to", 1). Then all pairs of one key must come together, whoever
// found them: that is the shuffle. Then each key is dealt with, and needs
// no other key: that is reduce, from a key and its values to a piece of output.
//
// Who writes a job writes map and reduce. Everything hard lies between and
// around, and is the same for every job: where to cut the input, how to sort
// more pairs than fit into memory, how to bring them to the right place, and what
// to do about workers that are slow, die, or come back from the dead. Since map
// and reduce depend on nothing but their input, a task can be done again, by
// anybody, and must only count once.
//
// Much is saved by adding up early: a mapper that has seen "to" a thousand times
// sends ("to", 1000), once. That is combine.
//
// # The picture
//
//	 input     map tasks        runs, sorted by key    reduce tasks
//	+-------+                 partition 0  partition 1
//	|split 0| -> Map, table -> [be 2, to 1] [not 1] \
//	|-------|                        \       \       \
//	|split 1| -> Map, table -> [be 1] \       \    merge, Reduce -> run
//	|-------|                    \     \       `---->             \
//	|split 2| -> Map, table ->  [to 1]  \                       merge -> out
//	+-------+       |              \     \                        /
//	           table full?          `-----`---> merge, Reduce -> run
//	           sort, to disk
//
// The reduce tasks' runs of (key, piece of output) are merged in order of keys:
// so the output does not show how many tasks there were.
//
// # Wire format
//
// What is between map and reduce, in memory, on disk and on the wire, is runs:
// pairs sorted by key, and those of one key in the order of the input. A number
// as a key takes 8 bytes that sort like the number, as a value 1 to 10.
//
//	+---------------+-----------------+-----+-------+
//	| key's length  | value's length  | key | value |   "be" 4:
//	| uvarint       | uvarint         |     |       |   02 01 62 65 08
//	+---------------+-----------------+-----+-------+
//
// A split is its parts of files, each with a heading. All numbers are uvarints; a
// place counts from the beginning of the file, or of the whole input:
//
//	name's length | name | place in file | place in input | length | bytes
//
// Masters and workers speak in frames of package framing: 4 bytes length, one
// byte that says 0 message or 1 piece of a stream, and the rest: a message in
// encoding/gob that stands alone, or up to 60 KiB of a split, a run or an output.
// An empty piece ends a stream: 00 00 00 01 01.
//
//	worker -> master    hello, then ping | done | failed | output + run
//	master -> worker    welcome, assign (+ split), ping | gone | end | bye
//	reducer -> mapper   fetch     mapper -> reducer   output + run | failed
//
// A mapper tells the master that it is done, and keeps its runs until a reducer
// asks for its own. On Hadoop a pair is a line: key, tab, value.
//
// # Pitfalls
//
//   - A Combine for which (a+b)+c is not exactly a+(b+c), like adding floats: the
//     result depends on the splits. TestSameBytesEveryWay shows how it should be.
//   - A record that makes Map panic, each time again: TestBadRecordsAreSkipped.
//     And a job for which all records are bad: TestTooManyBadRecords.
//   - A result that looks whole and is not: TestOutputFails, TestReduceFails.
//   - Bytes kept that were only lent: TestBytesAsValues.
//   - A line cut in two, or taken twice, where splits meet: FuzzSplit.
//   - The finished maps of a worker that dies are gone with it:
//     TestFinishedMapsAreLostWithTheirWorker.
//   - A worker believed dead that completes its task after all:
//     TestSilentWorkerLosesItsLease, TestDuplicateCompletion.
//   - One slow worker that all wait for: TestBackupTask.
//   - A job that fails on every worker, for ever: TestTaskFailsOfItsOwn.
//
// # Limits and security
//
// [Local.Memory] bounds what lies between map and reduce; more goes to temporary
// files. Not counted is what Map and Reduce keep themselves, what Combine makes
// of values other than numbers, strings, []byte and []string, and one record, key
// and value ([Job.MaxRecord]; 64 MiB a key or value). Files are not synced to disk:
// the rename protects from a program that dies, not from a power failure.
//
// A master trusts its workers, and they trust it: they get the input, and what
// they answer is the result. Keep strangers out by loopback or by TLS that asks
// for certificates (TestOverTLS). A stranger on the port costs at most one of 256
// connections, for 5 seconds and 256 KiB. Reducers reach a mapper at the address
// from which it reached the master. A Map that never returns keeps its worker
// busy for ever. When the master dies the job must be started anew.
//
// # Exercises
//
//	go run ./examples run Z5     grep, sort, index and more, every way
//	go run ./examples run Z4     words, by processes that may be killed
//
// # References
//
//   - [MapReduce: Simplified Data Processing on Large Clusters], OSDI 2004
//   - [Hadoop Streaming]
//   - Knuth, The Art of Computer Programming, volume 3, section 5.4: merging
//
// # Reading path
//
// job.go, merge.go, coordinator.go: what a job is, how pairs of one key come
// together, and who does what when workers come and go.
//
// [MapReduce: Simplified Data Processing on Large Clusters]: https://research.google/pubs/mapreduce-simplified-data-processing-on-large-clusters/
// [Hadoop Streaming]: https://hadoop.apache.org/docs/stable/hadoop-streaming/HadoopStreaming.html
package mapreduce
