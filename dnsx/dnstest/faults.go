package dnstest

import (
	"context"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
)

// A Fault replaces what a server answers. query and answer are whole messages,
// without the length that TCP puts before them, and must not be changed; what it returns is sent instead,
// one after the other, and nil is silence. network is "udp" or "tcp". A Fault runs in a goroutine of
// its own for each query and may wait; ctx ends when the server is closed.
type Fault func(ctx context.Context, network string, query, answer []byte) [][]byte

const (
	slowness   = 500 * time.Millisecond // of slow.test
	forgedTTL  = 24 * time.Hour
	pointerTTL = time.Hour
)

// Silent never answers.
func Silent() Fault {
	return func(context.Context, string, []byte, []byte) [][]byte { return nil }
}

// Slow answers after d.
func Slow(d time.Duration) Fault {
	return func(ctx context.Context, _ string, _, answer []byte) [][]byte {
		select {
		case <-time.After(d):
			return [][]byte{answer}
		case <-ctx.Done():
			return nil
		}
	}
}

// Refusing answers REFUSED to everything.
func Refusing() Fault {
	return edit(func(m *dnsx.Message) { *m = bare(m, dnsx.RcodeRefused) })
}

// Failing answers SERVFAIL to everything.
func Failing() Fault {
	return edit(func(m *dnsx.Message) { *m = bare(m, dnsx.RcodeServFail) })
}

// Lame answers as a server does that has not been told of the zone that it
// is said to serve: without authority, with a referral upwards to the root.
func Lame() Fault {
	return edit(func(m *dnsx.Message) {
		*m = bare(m, dnsx.RcodeNoError)
		m.Authority = []dnsx.Record{{Name: ".", Type: dnsx.NS, TTL: forgedTTL, Data: "a.root-servers.net."}}
	})
}

// Truncating answers over UDP with nothing but the TC bit. Over TCP it is
// honest.
func Truncating() Fault {
	truncate := edit(func(m *dnsx.Message) {
		*m = bare(m, dnsx.RcodeNoError)
		m.Truncated = true
	})
	return func(ctx context.Context, network string, query, answer []byte) [][]byte {
		if network == "tcp" {
			return [][]byte{answer}
		}
		return truncate(ctx, network, query, answer)
	}
}

// Garbage answers with the query's id and then octets that make no sense: a
// name that points to itself, for ever.
func Garbage() Fault {
	return func(_ context.Context, _ string, query, _ []byte) [][]byte {
		msg := append([]byte(nil), query[:2]...)
		msg = append(msg, 0x84, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0)
		return [][]byte{append(msg, 0xc0, 12, 0xc0, 12, 0xc0)}
	}
}

// Forging answers honestly and adds records that are none of the server's
// business: NS records to the authority section, others to the answer and the additional
// section.
func Forging(records ...dnsx.Record) Fault {
	return edit(func(m *dnsx.Message) {
		for _, r := range records {
			if r.Type == dnsx.NS {
				m.Authority = append(m.Authority, r)
				continue
			}
			m.Answer = append(m.Answer, r)
			m.Additional = append(m.Additional, r)
		}
	})
}

// WrongID answers first with another id, then to another question. The honest
// answer never comes.
func WrongID() Fault {
	other := edit(func(m *dnsx.Message) {
		for i := range m.Questions {
			m.Questions[i].Name = "another.example."
		}
	})
	return func(ctx context.Context, network string, query, answer []byte) [][]byte {
		id := append([]byte(nil), answer...)
		id[0] ^= 0xff
		return append([][]byte{id}, other(ctx, network, query, answer)...)
	}
}

// edit makes a Fault of a change to the honest answer.
func edit(f func(*dnsx.Message)) Fault {
	return func(_ context.Context, _ string, _, answer []byte) [][]byte {
		m, err := dnsx.ParseMessage(answer)
		if err != nil {
			return nil
		}
		f(m)
		wire, err := m.Pack()
		if err != nil {
			return nil
		}
		return [][]byte{wire}
	}
}

// bare returns a message that has lost all of its records.
func bare(m *dnsx.Message, rcode dnsx.Rcode) dnsx.Message {
	header := m.Header
	header.Rcode, header.Authoritative = rcode, false
	return dnsx.Message{Header: header, Questions: m.Questions, EDNS: m.EDNS}
}
