// Package dnsload asks a nameserver at a fixed rate, and tells how it answered.
package dnsload

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Load is what is asked of a nameserver.
type Load struct {
	Server string // IP:PORT, asked by UDP
	// Questions are TYPE NAME, asked in turn; each must have an answer.
	Questions []Question
	Rate      int // queries per second
	Duration  time.Duration
	// Dial connects a client. Nil: from where this process is.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Question is one name, and the type that is asked of it.
type Question struct {
	Name string
	Type uint16
}

const (
	// clients ask side by side, each from a port of its own, as pods do.
	clients = 10
	// lostAfter is when a query without an answer is lost: resolvers (resolv.conf(5)) ask
	// again after 5 s, and here none does.
	lostAfter = 5 * time.Second
	// tick is how often a client sends what is due.
	tick = time.Millisecond
)

// Result is what came of a load.
type Result struct {
	Sent, Lost, Wrong int
	Times             []time.Duration // sorted
	Took              time.Duration   // of sending
}

// Quantile is the time within which a share of the answers came.
func (r Result) Quantile(share float64) time.Duration {
	if len(r.Times) == 0 {
		return 0
	}
	at := int(math.Ceil(share*float64(len(r.Times)))) - 1
	return r.Times[max(at, 0)]
}

func (r Result) String() string {
	milliseconds := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("%d queries in %.1f s (%.0f/s): %d lost, %d without the right answer; p50 %s, p99 %s, p99.9 %s, slowest %s",
		r.Sent, r.Took.Seconds(), float64(r.Sent)/r.Took.Seconds(), r.Lost, r.Wrong,
		milliseconds(r.Quantile(0.5)), milliseconds(r.Quantile(0.99)), milliseconds(r.Quantile(0.999)), milliseconds(r.Quantile(1)))
}

// Run sends the whole load and waits for the answers.
func Run(ctx context.Context, load Load) (Result, error) {
	results := make([]Result, clients)
	errs := make([]error, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { results[i], errs[i] = one(ctx, load, i) })
	}
	group.Wait()
	var out Result
	for i, result := range results {
		if errs[i] != nil {
			return out, errs[i]
		}
		out.Sent += result.Sent
		out.Lost += result.Lost
		out.Wrong += result.Wrong
		out.Took = max(out.Took, result.Took)
		out.Times = append(out.Times, result.Times...)
	}
	slices.Sort(out.Times)
	return out, nil
}

// client is one that asks from one port.
type client struct {
	load Load
	conn net.Conn

	mu      sync.Mutex
	pending map[uint16]time.Time // by the query's id: when it was sent
	result  Result
}

func one(ctx context.Context, load Load, number int) (Result, error) {
	dial := load.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "udp", load.Server)
	if err != nil {
		return Result{}, err
	}
	c := &client{load: load, conn: conn, pending: map[uint16]time.Time{}}
	received := make(chan struct{})
	go func() { defer close(received); c.receive() }()
	err = c.send(ctx, number)
	c.drain(ctx)
	_ = conn.Close()
	<-received
	c.result.Lost += len(c.pending)
	return c.result, err
}

// send asks what is due until the time is over.
func (c *client) send(ctx context.Context, number int) error {
	start := time.Now()
	defer func() { c.result.Took = time.Since(start) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	total := c.load.Rate * int(c.load.Duration/time.Second) / clients
	for sent := 0; sent < total; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		due := min(total, int(time.Since(start).Seconds()*float64(c.load.Rate)/clients))
		for ; sent < due; sent++ {
			question := c.load.Questions[(number+sent*clients)%len(c.load.Questions)]
			if err := c.ask(uint16(sent), question); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *client) ask(id uint16, question Question) error {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(question.Name), question.Type)
	query.Id = id
	packed, err := query.Pack()
	if err != nil {
		return err
	}
	c.mu.Lock()
	if _, late := c.pending[id]; late { // ids come round after 65536 queries
		c.result.Lost++
	}
	c.pending[id] = time.Now()
	c.result.Sent++
	c.mu.Unlock()
	// A refused packet (ICMP) is an error of the next write: that one is lost, no more.
	_, _ = c.conn.Write(packed)
	return nil
}

// receive notes answers until the connection is closed.
func (c *client) receive() {
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		n, err := c.conn.Read(buffer)
		now := time.Now()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // refused: a lost query
		}
		answer := new(dns.Msg)
		if answer.Unpack(buffer[:n]) != nil {
			continue
		}
		c.mu.Lock()
		if sent, ok := c.pending[answer.Id]; ok {
			delete(c.pending, answer.Id)
			c.result.Times = append(c.result.Times, now.Sub(sent))
			if answer.Rcode != dns.RcodeSuccess || len(answer.Answer) == 0 {
				c.result.Wrong++
			}
		}
		c.mu.Unlock()
	}
}

// drain waits for what is still on its way.
func (c *client) drain(ctx context.Context) {
	deadline := time.After(lostAfter)
	ticker := time.NewTicker(10 * tick)
	defer ticker.Stop()
	for {
		c.mu.Lock()
		left := len(c.pending)
		c.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-deadline:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
