// Package progress shows what a run of package dag does and did: as CloudEvents
// for machines, as a live tree or plain lines for people, as figures at the end.
// And it draws a graph before it is run.
//
// [Events] and [Live] take the events of a run through their Observe methods, for
// [dag.Options]. The run never waits for whoever reads what they write.
//
// Names, reasons and messages may be anybody's. Whatever they hold, they can't
// steer a terminal, start a line of their own, or leave the quotes of a format.
package progress
