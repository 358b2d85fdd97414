package dnsx

import (
	"net/netip"
	"time"
)

// A Trace is told what happens while names are resolved, as net/http/httptrace
// does for HTTP. Every field may be nil. The functions are called by the
// goroutine that resolves, at the moment itself, and must return soon; those of
// different resolutions may be called at the same time.
type Trace struct {
	// Sent is called when a query has left.
	Sent func(Packet)
	// Received is called when a response has been accepted.
	Received func(Packet)
	// Ignored is called when something has arrived that is not the response
	// that was waited for: forged, late or garbled. The waiting goes on.
	Ignored func(Packet, error)
	// Step is called by an [Iterative] after each question to a server.
	Step func(Step)
}

// A Packet is one message on its way. Wire is valid during the call only.
type Packet struct {
	Server  netip.AddrPort // to or from which
	Network string         // "udp", "tcp" or "tls"
	Time    time.Time      // when it left or came
	Wire    []byte         // ParseMessage reads it, if it can be read
}

// A Step is one question to one server on the way from the root to an answer.
type Step struct {
	Depth  int            // 0 on the main chain; more while the address of a name server is looked for
	Zone   string         // for which the server was asked: "." at the root
	Server string         // name of the server
	Addr   netip.AddrPort // and where it was asked
	Name   string         // the question
	Type   Type           // of the question

	Outcome Outcome       // what came of it
	Next    string        // the zone that a referral leads to, or the target of an alias
	Records []Record      // of an answer, or of a referral the NS records
	Start   time.Time     // when the question was sent
	Took    time.Duration // until the answer, or until it was given up
	Err     error         // why there is no answer; nil if Outcome is one of the first five
}

// An Outcome says what came of a [Step].
type Outcome string

// The outcomes. After the last four another server is asked.
const (
	OutcomeAnswer   Outcome = "answer"
	OutcomeAlias    Outcome = "alias"    // the name is another's; the search goes on there
	OutcomeReferral Outcome = "referral" // the servers of a zone below know more
	OutcomeNoData   Outcome = "nodata"
	OutcomeNXDomain Outcome = "nxdomain"
	OutcomeLame     Outcome = "lame"        // the server does not have the zone it was said to have
	OutcomeRefused  Outcome = "refused"     // it will not or cannot answer: REFUSED, SERVFAIL and the like
	OutcomeSilent   Outcome = "silent"      // nothing came in time
	OutcomeFailed   Outcome = "unreachable" // no connection, or nothing that could be read
)

// step calls t.Step if there is one.
func (t *Trace) step(s Step) {
	if t != nil && t.Step != nil {
		t.Step(s)
	}
}

func (t *Trace) sent(p Packet) {
	if t != nil && t.Sent != nil {
		p.Time = time.Now()
		t.Sent(p)
	}
}

func (t *Trace) received(p Packet) {
	if t != nil && t.Received != nil {
		p.Time = time.Now()
		t.Received(p)
	}
}

func (t *Trace) ignored(p Packet, why error) {
	if t != nil && t.Ignored != nil {
		p.Time = time.Now()
		t.Ignored(p, why)
	}
}
