package nameserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// askTimeout bounds one query.
const askTimeout = 5 * time.Second

// Ask sends one query, TYPE NAME, to a nameserver by UDP; or, as in "tcp A name", by TCP.
func Ask(ctx context.Context, server, question string) (*dns.Msg, error) {
	client := &dns.Client{Timeout: askTimeout}
	fields := strings.Fields(question)
	if len(fields) == 3 {
		client.Net, fields = fields[0], fields[1:]
	}
	query := new(dns.Msg).SetQuestion(dns.Fqdn(fields[1]), dns.StringToType[fields[0]])
	query.SetEdns0(1232, false)
	answer, _, err := client.ExchangeContext(ctx, query, server)
	if err != nil {
		return nil, fmt.Errorf("%s, asked of %s: %w", question, server, err)
	}
	return answer, nil
}

// Says is an answer in a few words: TYPE DATA of each record in it, sorted, or why there is
// none; empty when there is the name, but no such record.
func Says(answer *dns.Msg) string {
	if answer.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[answer.Rcode]
	}
	return Describe(answer.Answer)
}

// Describe is TYPE DATA of each record.
func Describe(records []dns.RR) string {
	var out []string
	for _, record := range records {
		if record.Header().Rrtype == dns.TypeOPT {
			continue
		}
		data := strings.TrimPrefix(record.String(), record.Header().String())
		out = append(out, dns.TypeToString[record.Header().Rrtype]+" "+data)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
