// Package archtest holds no code: its test says who may import whom, each rule with its reason.
package archtest
