package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// recorded is a capture of three exchanges, for where live capture is not
// permitted; testdata/README.md says how it was made.
//
//go:embed testdata/loopback.pcap
var recorded []byte

// recordedLabel is printed before it: nobody shall take it for a live one.
const recordedLabel = "recorded earlier, on the loopback of a Linux 6.18 machine (testdata/loopback.pcap)"

func explain(fs *flag.FlagSet) cli.Action {
	most := cli.Number(fs, "max", 1000, 1, 1_000_000, "look at the first `packets` of the file only")
	return func(_ context.Context, env *cli.Env) error {
		switch len(env.Args) {
		case 0:
			fmt.Fprintf(env.Stdout, "%s\n\n", recordedLabel)
			return explainPcap(env.Stdout, bytes.NewReader(recorded), *most)
		case 1:
		default:
			return cli.Usagef("one FILE at a time, not %d", len(env.Args))
		}
		file, err := os.Open(env.Args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		if err := explainPcap(env.Stdout, file, *most); err != nil {
			return fmt.Errorf("%s: %w", env.Args[0], err)
		}
		return nil
	}
}

// explainPcap tells what the packets of a pcap file say to each other, one
// conversation after the other. Of a damaged file it tells what comes before
// the damage. It looks at most packets.
func explainPcap(w io.Writer, r io.Reader, most int) error {
	file, err := newPcapReader(r)
	if err != nil {
		return err
	}
	var all story
	for n := 0; err == nil; n++ {
		var rec record
		if rec, err = file.next(); err == nil {
			if n == most {
				all.cutShort = true
				break
			}
			p, problem := decode(file.link, rec.data)
			all.add(rec, p, problem)
		}
	}
	if _, werr := io.WriteString(w, all.String()); werr != nil {
		return werr
	}
	if err == io.EOF {
		err = nil
	}
	return err
}

// A story is what the packets of a capture say, by conversation.
type story struct {
	talks    []*talk // in the order of their first packets
	current  map[pair]*talk
	began    time.Time
	foreign  int
	broken   int
	why      error // the first of the broken
	cutShort bool
}

// A pair names a conversation, the client first.
type pair struct {
	tcp            bool
	client, server netip.AddrPort
}

// A talk is one TCP connection, or the datagrams of one client and one server.
type talk struct {
	pair
	from           [2]side // what the client has sent, what the server has sent
	lines          []string
	packets, bytes int // on the wire, with the headers
	before         int // packets before the first byte of payload
	payload        int
}

// A side is what one end of a TCP connection has shown of itself.
type side struct {
	known bool   // base is set
	isn   bool   // base was seen in a SYN
	base  uint32 // the number from which we count, that of the SYN
	next  uint32 // the highest number sent, plus one, counted from base
	fin   bool
}

// add notes one packet, or why it could not be read.
func (s *story) add(rec record, p packet, problem error) {
	switch {
	case errors.Is(problem, errForeign):
		s.foreign++
		return
	case problem != nil:
		if s.broken++; s.why == nil {
			s.why = problem
		}
		return
	}
	if len(s.talks) == 0 {
		s.began = rec.at
		s.current = map[pair]*talk{}
	}
	t, fromServer := s.current[pair{p.tcp, p.src, p.dst}], false
	if t == nil {
		t = s.current[pair{p.tcp, p.dst, p.src}]
		fromServer = t != nil
	}
	// A SYN that is not the last one sent again begins a new connection,
	// perhaps between the same two ports.
	asks := p.flags&(flagSYN|flagACK) == flagSYN
	if t == nil || asks && (fromServer || t.isOver() || p.seq != t.from[0].base) {
		t, fromServer = &talk{pair: pair{p.tcp, p.src, p.dst}}, false
		if p.flags&(flagSYN|flagACK) == flagSYN|flagACK { // the question itself was not captured
			t.client, t.server, fromServer = p.dst, p.src, true
		}
		s.talks = append(s.talks, t)
		delete(s.current, pair{p.tcp, t.server, t.client})
		s.current[t.pair] = t
	}
	t.packets++
	t.bytes += rec.size
	t.payload += p.length
	if t.payload == 0 {
		t.before++
	}
	var what string
	if p.tcp {
		what = t.segment(p, fromServer)
	} else {
		what = datagram(p)
	}
	arrow := "client → server"
	if fromServer {
		arrow = "client ← server"
	}
	t.lines = append(t.lines, fmt.Sprintf("%9.3f ms  %s  %s", float64(rec.at.Sub(s.began).Microseconds())/1000, arrow, what))
}

// isOver reports whether nothing more is to come.
func (t *talk) isOver() bool { return t.from[0].fin && t.from[1].fin }

// datagram tells a UDP packet.
func datagram(p packet) string {
	what := brief(p.payload, p.length)
	if p.partial {
		what += ", in fragments, of which this is the first"
	}
	return what
}

// segment tells a TCP packet, with numbers counted from each side's SYN as
// other programs show them too.
func (t *talk) segment(p packet, fromServer bool) string {
	me, you := &t.from[0], &t.from[1]
	if fromServer {
		me, you = you, me
	}
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }

	syn, fin, rst, ack := p.flags&flagSYN != 0, p.flags&flagFIN != 0, p.flags&flagRST != 0, p.flags&flagACK != 0
	if !me.known {
		me.known, me.isn, me.base = true, syn, p.seq
		if !syn {
			me.base--
			note("(its beginning is not in the capture)")
		}
	}
	if ack && !you.known {
		you.known, you.base = true, p.ack-1
		you.next = 1
	}
	seq := p.seq - me.base
	length := uint32(p.length)
	if syn {
		length++ // SYN and FIN take a number each, as if they were a byte:
	}
	if fin {
		length++ // so that they, too, can be acknowledged
	}
	again := length > 0 && me.next > 0 && int32(seq+length-me.next) <= 0
	if int32(seq+length-me.next) > 0 {
		me.next = seq + length
	}

	text := fmt.Sprintf("%-7s  seq %d", p.flags, seq)
	if ack {
		text += fmt.Sprintf(" ack %d", p.ack-you.base)
	}
	switch {
	case again:
		note("the same again: the first was not acknowledged in time")
	case rst:
		note("breaks the connection off")
	case syn && !ack:
		note("wants to talk; its numbers begin at %d", p.seq)
	case syn:
		note("agrees; its own numbers begin at %d", p.seq)
	}
	if syn && p.mss > 0 {
		note("segments up to %d bytes", p.mss)
	}
	if p.length > 0 && !again {
		note("%s", brief(p.payload, p.length))
	}
	if fin && !again {
		note("has no more to send")
	}
	if len(notes) == 0 && ack {
		switch got := p.ack - you.base; {
		case you.fin && got == you.next && me.fin:
			note("has seen the end: both directions are closed")
		case you.fin && got == you.next:
			note("has seen the end of the other side")
		case got == 1 && t.payload == 0 && !fromServer:
			note("the handshake is complete")
		case got > 1:
			note("has everything before %d", got)
		}
	}
	if ack && !rst && p.window == 0 {
		note("but has no room for more")
	}
	me.fin = me.fin || fin || rst
	you.fin = you.fin || rst
	return fmt.Sprintf("%-28s  %s", text, strings.Join(notes, ", "))
}

// brief shows the beginning of a payload of length bytes. It is quoted, for
// it may hold what commands a terminal.
func brief(payload []byte, length int) string {
	const most = 24
	unit := "bytes"
	if length == 1 {
		unit = "byte"
	}
	text := fmt.Sprintf("%d %s", length, unit)
	switch {
	case length == 0:
		return text
	case len(payload) > most || len(payload) < length:
		return fmt.Sprintf("%s %q…", text, payload[:min(most, len(payload))])
	}
	return fmt.Sprintf("%s %q", text, payload)
}

// String tells the story.
func (s *story) String() string {
	var b strings.Builder
	var sums [2]struct{ talks, packets, bytes, payload int }
	var clients, servers []string
	for _, t := range s.talks {
		name, sum := "UDP", &sums[1]
		if t.tcp {
			name, sum = "TCP", &sums[0]
		}
		fmt.Fprintf(&b, "%s: client %s, server %s\n", name, t.client, t.server)
		for _, line := range t.lines {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		fmt.Fprintf(&b, "  %s, %d of them before the first byte; %s on the wire for %d of payload\n\n",
			count(t.packets, "packet"), t.before, count(t.bytes, "byte"), t.payload)
		sum.talks++
		sum.packets += t.packets
		sum.bytes += t.bytes
		sum.payload += t.payload
		if t.from[0].isn {
			clients = append(clients, fmt.Sprint(t.from[0].base))
		}
		if t.from[1].isn {
			servers = append(servers, fmt.Sprint(t.from[1].base))
		}
	}
	if sum := sums[0]; sum.talks > 0 {
		fmt.Fprintf(&b, "TCP: %s, %s, %s for %d of payload\n", count(sum.talks, "connection"), count(sum.packets, "packet"), count(sum.bytes, "byte"), sum.payload)
	}
	if sum := sums[1]; sum.talks > 0 {
		fmt.Fprintf(&b, "UDP: %s, %s, %s for %d of payload\n", count(sum.talks, "client"), count(sum.packets, "packet"), count(sum.bytes, "byte"), sum.payload)
	}
	// A handful shows that there is no pattern.
	const few = 5
	if len(clients) > 1 {
		fmt.Fprintf(&b, "first sequence numbers of the clients: %s\n", strings.Join(clients[:min(few, len(clients))], ", "))
	}
	if len(servers) > 1 {
		fmt.Fprintf(&b, "first sequence numbers of the server:  %s\n", strings.Join(servers[:min(few, len(servers))], ", "))
	}
	if s.foreign > 0 {
		fmt.Fprintf(&b, "left out: %s, %v\n", count(s.foreign, "packet"), errForeign)
	}
	if s.broken > 0 {
		fmt.Fprintf(&b, "left out: %s that cannot be read, the first because of %v\n", count(s.broken, "packet"), s.why)
	}
	if s.cutShort {
		fmt.Fprintln(&b, "the file goes on: -max looks further")
	}
	if len(s.talks) == 0 && s.foreign == 0 && s.broken == 0 {
		fmt.Fprintln(&b, "the file holds no packet")
	}
	return b.String()
}

// count gives a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
