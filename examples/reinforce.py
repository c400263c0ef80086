"""Policy gradient (REINFORCE): a cart balances a pole: reinforce.tdsl in Python. All games run at once, as tensors.

python examples/reinforce.py [--rounds 30 --games 64 --steps 100 --lr 2e-2]
"""

import argparse

import tdsl
from tdsl import nn
from tdsl.distributions import Categorical


class CartPole:
    """Carts of 1 kg with a pole of 0.1 kg and half a metre to its middle; a step is 20 ms."""

    def __init__(self, games: int) -> None:
        self.state = 0.1 * (tdsl.rand(4, games) - 0.5)

    def seen(self) -> tdsl.Tensor:
        """[games, 4]: the cart's place and speed, the pole's angle and its speed."""
        return self.state.T

    def push(self, right: tdsl.Tensor) -> tdsl.Tensor:
        """One step of each game, with a force of 10 N to the right or to the left; says which poles still stand."""
        x, v, angle, spin = self.state
        force = tdsl.where(right, 10.0, -10.0)
        turn = (force + 0.05 * spin**2 * angle.sin()) / 1.1
        faster = (9.8 * angle.sin() - angle.cos() * turn) / (0.5 * (4 / 3 - 0.1 * angle.cos() ** 2 / 1.1))
        pull = turn - 0.05 * faster * angle.cos() / 1.1
        self.state = self.state + 0.02 * tdsl.stack([v, pull, spin, faster])
        return (self.state[2].abs() < 0.21) & (self.state[0].abs() < 2.4)


Games = tuple[tdsl.Tensor, tdsl.Tensor, tdsl.Tensor]


@tdsl.no_grad()
def play(policy: nn.Module, games: int, steps: int) -> Games:
    """What was seen [t, games, 4], what was done [t, games], and which games still ran [t, games]."""
    world, alive = CartPole(games), tdsl.ones(games)
    seen, done, ran = [], [], []
    for _ in range(steps):
        seen.append(world.seen())
        done.append(Categorical(logits=policy(seen[-1])).sample())
        ran.append(alive)
        alive = alive * world.push(done[-1] == 1)
        if alive.sum() == 0:
            break
    return tdsl.stack(seen), tdsl.stack(done), tdsl.stack(ran)


def returns(reward: tdsl.Tensor, gamma: float) -> tdsl.Tensor:
    """What is still to be won from each step on: g[t] = reward[t] + gamma * g[t + 1]."""
    return tdsl.index("scan[t]: g[t, n] := reward[t, n] + gamma * g[t + 1, n else 0.0]")(reward=reward, gamma=gamma)


def main(rounds: int = 30, games: int = 64, steps: int = 100, lr: float = 2e-2) -> float:
    tdsl.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    opt = tdsl.optim.Adam(policy.parameters(), lr=lr)
    stands = 0.0
    for number in range(rounds):
        seen, done, alive = play(policy, games, steps)
        running = alive.bool()
        g = returns(alive, 0.97)
        gain = (g - g[running].mean()) / (g[running].std() + 1e-6) * alive
        loss = -(Categorical(logits=policy(seen)).log_prob(done) * gain).sum() / alive.sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        stands = alive.sum().item() / games
        if (number + 1) % 10 == 0 or number == 0:
            print(f"round {number + 1:3d}  the pole stands for {stands:.1f} steps")
    return stands


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--games", type=int, default=64)
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--lr", type=float, default=2e-2)
    main(**vars(options.parse_args()))
