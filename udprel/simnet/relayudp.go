package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// A parcel is a datagram on its way through a relay.
type parcel struct {
	flow *udpFlow
	data []byte
	size int // at the IP layer
}

// A udpFlow is a client of a relay.
type udpFlow struct {
	client netip.AddrPort
	conn   *net.UDPConn  // to the target
	last   time.Duration // when something passed
}

// RelayUDP starts a relay that listens on one UDP address, such as
// "127.0.0.1:0", and forwards to another. The caller must Close it.
func RelayUDP(listen, target string, config *RelayConfig) (*Relay, error) {
	r := newRelay(target, config)
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return nil, fmt.Errorf("simnet: relay to %s: %w", target, err)
	}
	r.target = to.String()
	pc, err := net.ListenPacket("udp", listen)
	if err != nil {
		return nil, fmt.Errorf("simnet: relay to %s: %w", target, err)
	}
	r.pc = pc.(*net.UDPConn)
	r.wg.Go(r.readClients)
	r.wg.Go(func() { r.deliver(&r.up, func(p parcel, conn *net.UDPConn) { conn.Write(p.data) }) })
	r.wg.Go(func() {
		r.deliver(&r.down, func(p parcel, _ *net.UDPConn) { r.pc.WriteToUDPAddrPort(p.data, p.flow.client) })
	})
	return r, nil
}

// readClients takes datagrams from the clients.
func (r *Relay) readClients() {
	buf := make([]byte, maxParcel)
	for {
		n, client, err := r.pc.ReadFromUDPAddrPort(buf)
		if err != nil { // such as what ICMP said about a client that has gone
			if errors.Is(err, net.ErrClosed) || !r.sleep(r.ctx, r.now()+relayPause) {
				return
			}
			continue
		}
		r.mu.Lock()
		if f := r.flow(client); f != nil {
			r.post(&r.up, f, buf[:n])
		}
		r.mu.Unlock()
	}
}

// flow returns the flow of a client, or nil if there can be no more.
func (r *Relay) flow(client netip.AddrPort) *udpFlow {
	if f := r.clients[client]; f != nil {
		return f
	}
	if r.closed || len(r.clients) >= r.maxFlows {
		return nil
	}
	f := &udpFlow{client: client, last: r.now()}
	if r.connect(f) != nil {
		return nil
	}
	r.clients[client] = f
	return f
}

// connect gives f a new socket to the target. Dialling UDP does not wait.
func (r *Relay) connect(f *udpFlow) error {
	conn, err := net.Dial("udp", r.target)
	if err != nil {
		return err
	}
	if f.conn != nil {
		f.conn.Close()
	}
	f.conn = conn.(*net.UDPConn)
	r.wg.Go(func() { r.readTarget(f, conn.(*net.UDPConn)) })
	return nil
}

// readTarget takes answers from the target, until f is idle or has moved to
// another socket.
func (r *Relay) readTarget(f *udpFlow, conn *net.UDPConn) {
	defer conn.Close()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if f.conn == conn {
			delete(r.clients, f.client)
		}
	}()
	buf := make([]byte, maxParcel)
	for {
		r.mu.Lock()
		left := f.last + r.idle - r.now()
		r.mu.Unlock()
		if left <= 0 {
			return
		}
		conn.SetReadDeadline(time.Now().Add(left))
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil: // such as ECONNREFUSED: the target may come back
			if errors.Is(err, net.ErrClosed) || !r.sleep(r.ctx, r.now()+relayPause) {
				return
			}
			continue
		}
		r.mu.Lock()
		r.post(&r.down, f, buf[:n])
		r.mu.Unlock()
	}
}

// post puts a datagram on a lane; r.mu is held.
func (r *Relay) post(l *lane, f *udpFlow, data []byte) {
	f.last = r.now()
	p := parcel{flow: f, size: headerSize(f.client.Addr().Unmap(), 8) + len(data)}
	if l.bytes+p.size > maxParcels {
		l.model.refuse(p.size)
		return
	}
	fate := l.model.Send(f.last, p.size)
	if fate.Drop != "" {
		return
	}
	p.data = append([]byte(nil), data...)
	l.queue.push(fate.Arrive, p)
	l.bytes += p.size
	if fate.Copy {
		l.queue.push(fate.Arrive, p)
		l.bytes += p.size
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// deliver gives the datagrams of a lane to send when they have arrived.
func (r *Relay) deliver(l *lane, send func(parcel, *net.UDPConn)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		r.mu.Lock()
		wait := time.Hour // or until there is something to send
		for l.queue.size() > 0 {
			if wait = l.queue.next() - r.now(); wait > 0 {
				break
			}
			_, p := l.queue.pop()
			l.bytes -= p.size
			if conn := p.flow.conn; l.model.Arrive() {
				r.mu.Unlock()
				send(p, conn)
				r.mu.Lock()
			}
		}
		r.mu.Unlock()
		timer.Reset(max(wait, 0))
		select {
		case <-timer.C:
		case <-l.wake:
		case <-r.ctx.Done():
			return
		}
	}
}
