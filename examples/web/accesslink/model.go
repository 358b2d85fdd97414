package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// A design is a campus network on the Internet: what its users ask for, and
// the lines on which it comes.
type design struct {
	name     string
	rate     float64 // requests per second
	size     float64 // mean bits of an object
	access   float64 // bits per second of the access link
	lan      float64 // bits per second of the network inside
	internet float64 // seconds from the access router to any server and back
	hit      float64 // part of the requests that a cache inside answers, 0 to 1
}

// A result says how a design does: from the formula or from a simulation.
type result struct {
	access, lan float64 // utilisation: the part of the time that the line is busy
	delay       float64 // seconds from request to object, in the mean; +Inf if the queue grows for ever
}

// formula computes what queueing theory says. Requests come at random
// (Poisson) and sizes are exponential, so each line is an M/M/1 queue: an
// object spends Δ/(1−Δβ) seconds there, with Δ the time to send it and β how
// many come each second.
func (d design) formula() result {
	misses := d.rate * (1 - d.hit)
	link, linkDelay := line(d.size, d.access, misses)
	lan, lanDelay := line(d.size, d.lan, d.rate)
	return result{access: link, lan: lan, delay: lanDelay + (1-d.hit)*(d.internet+linkDelay)}
}

// line returns the utilisation of a line and the seconds that an object spends
// waiting for it and being sent.
func line(size, capacity, rate float64) (utilisation, delay float64) {
	send := size / capacity
	if utilisation = rate * send; utilisation >= 1 {
		return utilisation, math.Inf(1)
	}
	return utilisation, send / (1 - utilisation)
}

// simulate plays span of time on the design and measures. The dice come from
// seed; fixed gives all objects the mean size.
func (d design) simulate(span time.Duration, seed uint64, fixed bool) result {
	dice := rand.New(rand.NewPCG(seed, 0))
	size := func() float64 {
		if fixed {
			return d.size
		}
		return d.size * dice.ExpFloat64()
	}
	var link, lan queue
	var late lateness // misses come to the LAN later than hits that were asked for after them
	end := span.Seconds()
	var total float64
	var n int
	serve := func(a arrival) {
		total += lan.pass(a.at, a.size/d.lan) - a.asked
		n++
	}
	for now := dice.ExpFloat64() / d.rate; now < end; now += dice.ExpFloat64() / d.rate {
		for len(late.waiting) > 0 && late.waiting[0].at <= now {
			serve(late.take())
		}
		bits := size()
		if dice.Float64() < d.hit {
			serve(arrival{at: now, asked: now, size: bits})
			continue
		}
		late.add(arrival{at: link.pass(now+d.internet, bits/d.access), asked: now, size: bits})
	}
	for len(late.waiting) > 0 {
		serve(late.take())
	}
	return result{access: link.busy / max(end, link.free), lan: lan.busy / max(end, lan.free), delay: total / float64(max(1, n))}
}

// A queue is a line that sends one object at a time, in the order of arrival.
type queue struct {
	free float64 // when it has sent all that it was given
	busy float64 // seconds that it has been sending
}

// pass gives the line an object at time now and returns when it has been sent.
// Calls must be in the order of now.
func (q *queue) pass(now, sending float64) float64 {
	q.free = max(q.free, now) + sending
	q.busy += sending
	return q.free
}

// An arrival is an object that comes to the LAN.
type arrival struct{ at, asked, size float64 }

// lateness holds arrivals until their time. The access link keeps the order,
// so they are added in the order in which they are due.
type lateness struct{ waiting []arrival }

func (l *lateness) add(a arrival) { l.waiting = append(l.waiting, a) }

func (l *lateness) take() arrival {
	a := l.waiting[0]
	l.waiting = l.waiting[1:]
	return a
}
