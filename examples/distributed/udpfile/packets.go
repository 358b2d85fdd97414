package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A pdu is what every packet of reliable UDP begins with. The course's PDU is
// the first three fields, and then data.
type pdu struct {
	sequence uint32 // the packet's own number
	ack      uint32 // the newest packet that has arrived from the other side
	bits     uint32 // bit n: packet ack−1−n has arrived as well
	kind     byte   // what follows
}

// The kinds of packet.
const (
	hello = 1 + iota
	cookie
	welcome
	data
	reset
)

var kinds = [...]string{hello: "hello", cookie: "cookie", welcome: "welcome", data: "data", reset: "reset"}

var errNoPDU = errors.New("not a packet of reliable UDP")

// decode reads a pdu from the beginning of a datagram.
func decode(datagram []byte) (p pdu, err error) {
	if len(datagram) < 13 {
		return p, errNoPDU
	}
	p = pdu{
		sequence: binary.BigEndian.Uint32(datagram),
		ack:      binary.BigEndian.Uint32(datagram[4:]),
		bits:     binary.BigEndian.Uint32(datagram[8:]),
		kind:     datagram[12] & 0x0f, // the other half is the protocol's version
	}
	if int(p.kind) >= len(kinds) || kinds[p.kind] == "" {
		return p, errNoPDU
	}
	return p, nil
}

// A side is one end of a connection: its first sequence number is a random one.
type side struct {
	known bool
	first uint32
}

// describe puts a packet into words, with numbers that count from the first of
// each side. Bit 0 of the bitfield, packet ack−1, is to the left.
func (p pdu) describe(from, to *side) string {
	if !from.known && p.sequence != 0 {
		from.known, from.first = true, p.sequence
	}
	var sequence, ack, bits string // empty before there is a connection
	if from.known {
		sequence = fmt.Sprint(p.sequence - from.first)
	}
	if to.known {
		ack = fmt.Sprint(p.ack - to.first)
		for n := range 32 {
			bits += string(".1"[p.bits>>n&1])
		}
	}
	return fmt.Sprintf("%-7s %4s %5s %32s", kinds[p.kind], sequence, ack, bits)
}

func packetsCommand(fs *flag.FlagSet) cli.Action {
	size := cli.Number(fs, "size", int64(20_000), 0, 10_000_000, "the file's length in `bytes`")
	seed := seedFlag(fs)
	link := simnet.Link{Rate: 2_000_000, Delay: 20 * time.Millisecond, Loss: 0.1}
	fs.TextVar(&link, "link", link, "the `link`, in both directions")
	return func(ctx context.Context, env *cli.Env) error {
		files, err := newShelf(*size, *seed)
		if err != nil {
			return err
		}
		defer files.discard()
		client, server := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		begin := time.Now()
		var ours, theirs side
		show := func(p simnet.Packet, what string) { // never called twice at a time
			arrow, from, to := "→ ", &ours, &theirs
			if p.From.Addr() == server {
				arrow, from, to = " ←", &theirs, &ours
			}
			text := errNoPDU.Error()
			if decoded, err := decode(p.Data); err == nil {
				text = decoded.describe(from, to)
			}
			fmt.Fprintf(env.Stdout, "%6.1f  %s  %s %s\n", p.Time.Sub(begin).Seconds()*1e3, arrow, text, what)
		}
		network := &simnet.Network{Seed: uint64(*seed), Link: link, Trace: &simnet.Trace{
			Sent:    func(p simnet.Packet) { show(p, fmt.Sprintf("%5d", len(p.Data))) },
			Dropped: func(p simnet.Packet, why simnet.Drop) { show(p, "    ✗ "+string(why)) },
		}}
		defer network.Close()
		endpoint := func(addr netip.Addr) (*udprel.Endpoint, error) {
			pc, err := network.Host(addr).ListenPacket("udp", netip.AddrPortFrom(addr, 1060).String())
			if err != nil {
				return nil, err
			}
			return udprel.NewEndpoint(pc, nil), nil
		}
		here, err := endpoint(client)
		if err != nil {
			return err
		}
		defer here.Close()
		there, err := endpoint(server)
		if err != nil {
			return err
		}
		defer there.Close()
		fmt.Fprintf(env.Stdout, "→ client to server, ← server to client; a ✗ is the end of the packet above it\n%6s      %-7s %4s %5s %-32s %5s\n",
			"ms", "kind", "seq", "ack", "which of the 32 before ack are here", "bytes")
		_, err = files.fetch(ctx, wanted, time.Minute, unseen{}, transport{
			listen: func(context.Context, string) (net.Listener, error) { return listenOn(there) },
			dial:   func(ctx context.Context, addr string) (net.Conn, error) { return dialFrom(ctx, here, addr) },
		})
		return err
	}
}
