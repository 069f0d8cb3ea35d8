package tenant

import (
	"context"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/internal/unit"
)

// JobArgs are the arguments of a job as the queue holds them.
type JobArgs = unit.JobArgs

// Minting returns the actor of a job, with the roles that its initiator holds
// now: identity.ForJob.
type Minting func(ctx context.Context, job id.Job, initiator id.Person, org id.Org) (actor.Actor, error)

// JobRequest says what a job may do that a unit of this installation enqueued.
// Arguments that bear no code of ours are refused before anything is believed
// of them.
func (s *Store) JobRequest(ctx context.Context, args JobArgs, action policy.Action, mint Minting) (Request, error) {
	if !s.host.Minter.VerifyJob(args.Bytes(), args.MAC) {
		return Request{}, fault.New(fault.Denied, "the job was not made by this installation")
	}
	org, err := id.ParseOrg(args.Org)
	if err != nil {
		return Request{}, err
	}
	initiator, err := id.ParsePerson(args.Initiator)
	if err != nil {
		return Request{}, err
	}
	who, err := mint(ctx, id.NewJob(), initiator, org)
	if err != nil {
		return Request{}, err
	}
	return Request{Actor: who, Org: org, Action: action, ID: id.NewRequest()}, nil
}
