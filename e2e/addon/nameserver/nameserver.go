// Package nameserver plays the nameservers around a tenant: those of the host's cluster,
// of a company, of the world.
package nameserver

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// tries is how often a port that is free for TCP may turn out not to be for UDP.
const tries = 20

// Server answers by UDP and TCP what its zone says, and that there is no such name otherwise.
type Server struct {
	// Address is IP:PORT.
	Address string

	records map[string][]dns.RR
	servers []*dns.Server
	ended   chan error
}

// Start serves a zone, lines as in a zone file, at an IP and any port of it.
func Start(ip, zone string) (*Server, error) {
	s := &Server{records: map[string][]dns.RR{}}
	for line := range strings.Lines(zone) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		record, err := dns.NewRR(line)
		if err != nil {
			return nil, fmt.Errorf("zone: %q: %w", line, err)
		}
		key := keyOf(record.Header().Name, record.Header().Rrtype)
		s.records[key] = append(s.records[key], record)
	}
	stream, packets, err := listen(ip)
	if err != nil {
		return nil, err
	}
	s.Address = stream.Addr().String()
	s.servers = []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}}
	s.ended = make(chan error, len(s.servers))
	for _, server := range s.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { s.ended <- server.ActivateAndServe() }()
		<-started
	}
	return s, nil
}

// listen opens a port of ip that is free for TCP and for UDP. The kernel finds one for TCP;
// for UDP a client on this machine may have it, so that another one is tried.
func listen(ip string) (stream net.Listener, packets net.PacketConn, err error) {
	for range tries {
		if stream, err = net.Listen("tcp", net.JoinHostPort(ip, "0")); err != nil {
			return nil, nil, err
		}
		if packets, err = net.ListenPacket("udp", stream.Addr().String()); err == nil {
			return stream, packets, nil
		}
		err = errors.Join(err, stream.Close())
	}
	return nil, nil, err
}

// Stop waits for its end.
func (s *Server) Stop() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Shutdown())
	}
	for range s.servers {
		errs = append(errs, <-s.ended)
	}
	return errors.Join(errs...)
}

// ServeDNS answers one query.
func (s *Server) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg).SetReply(query)
	question := query.Question[0]
	answer.Answer = s.records[keyOf(question.Name, question.Qtype)]
	if len(answer.Answer) == 0 {
		answer.Answer = s.records[keyOf(question.Name, dns.TypeCNAME)]
	}
	if len(answer.Answer) == 0 {
		answer.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(answer) // the client may have left
}

func keyOf(name string, kind uint16) string {
	return dns.TypeToString[kind] + " " + strings.ToLower(name)
}
