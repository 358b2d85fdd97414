package main

import "time"

// A path is what the formula needs to know of the network.
type path struct {
	rtt     time.Duration // to the server and back, of a packet without size
	dns     time.Duration // the same for the name server; 0 if the name is known
	rate    int64         // bits per second; 0 if sending takes no time
	control int           // bits of a packet that carries no object: SYN, its answer, a request
}

// estimate is the formula: what a page of so many bytes with n objects of size
// bytes takes. The rate is shared, so that connections in parallel save round
// trips and no sending.
func (p path) estimate(w way, n, parallel, page, size int) time.Duration {
	handshakes, requests := w.handshakes(n, parallel), 1+n
	bits := float64(2*handshakes*p.control + requests*p.control + 8*(page+n*size))
	total := p.dns + time.Duration(w.rounds(n, parallel))*p.rtt
	if p.rate > 0 {
		total += time.Duration(bits / float64(p.rate) * float64(time.Second))
	}
	return total
}

// inTrips says how many round trips to the server a time is.
func (p path) inTrips(t time.Duration) float64 { return float64(t) / float64(p.rtt) }
