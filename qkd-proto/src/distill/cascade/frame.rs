//! The schedule of one frame: which parities are compared next. In: parities of differences of what
//! was asked. Out: the next parities to compare, the bits to correct. Always: the same at both ends,
//! for it follows from public differences alone; at most three parities for every two bits of the
//! frame: it is given up after the round in which it reaches its number of bits.

use zeroize::Zeroizing;

use super::check::Check;
use super::order::Plan;
use super::parities::Parities;
use super::tree::Tree;

/// Checks in a row that must agree before a frame passes (a frame that differs passes with 2^-20).
const CLEAN: u32 = 20;
/// Of them, those that are asked first: most frames that still differ show here.
const FIRST_LOOK: u32 = 6;
/// Checks of one frame at most.
const CHECKS_MAX: usize = 100;

/// What was asked last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// All blocks of a pass.
    Blocks(usize),
    /// Left halves of odd parts in the passes.
    Halves,
    /// Left halves of odd parts of a check.
    CheckHalves(usize),
    /// This many further checks.
    Checks(u32),
    /// Nothing: the frame is finished, and equal or not.
    Nothing(bool),
}

/// One end's work on one frame.
pub(super) struct Frame {
    asked: Asked,
    /// Of each pass that has begun.
    trees: Vec<Tree>,
    checks: Vec<Check>,
    clean: u32,
    budget: usize,
    /// Single differences of this round, each with the pass that found it, or none for a check.
    found: Vec<(Option<usize>, u32)>,
}

impl Frame {
    /// A frame before its first round.
    pub(super) fn new(plan: &Plan, frame: &[u64]) -> Self {
        Self {
            asked: Asked::Blocks(0),
            trees: vec![Tree::new(plan.blocks[0], frame)],
            checks: Vec::new(),
            clean: 0,
            budget: 1 << plan.log,
            found: Vec::new(),
        }
    }

    /// Own bits, with all corrections.
    pub(super) fn bits(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.trees[0].bits()
    }

    /// Whether the frame passed, once it is finished.
    pub(super) fn passed(&self) -> Option<bool> {
        match self.asked {
            Asked::Nothing(passed) => Some(passed),
            _ => None,
        }
    }

    /// Appends own parities of what is compared next.
    pub(super) fn ask(&mut self, plan: &mut Plan, own: &mut Parities) {
        let before = own.len();
        match self.asked {
            Asked::Blocks(pass) => self.trees[pass].block_parities().for_each(|parity| own.push(parity)),
            // All passes at once: what two of them search twice costs less than the rounds of taking turns.
            Asked::Halves => self.trees.iter_mut().for_each(|tree| tree.ask(|_, _, parity| own.push(parity))),
            Asked::CheckHalves(check) => {
                let (frame, subset) = (&self.trees[0], plan.subset(check));
                self.checks[check].ask(|inside, first, len| own.push(frame.parity_within(subset, inside, first, len)));
            }
            Asked::Checks(count) => {
                let first = self.checks.len();
                plan.draw_subsets(first + count as usize);
                let subsets = (first..first + count as usize).map(|check| plan.subset(check));
                subsets.for_each(|subset| own.push(self.trees[0].parity_within(subset, true, 0, 1 << plan.log)));
            }
            Asked::Nothing(_) => {}
        }
        self.budget = self.budget.saturating_sub(own.len() - before);
    }

    /// Takes from `next` the parities of differences of what was asked. The receiver's end corrects
    /// its bits.
    pub(super) fn learn(&mut self, plan: &Plan, mut next: impl FnMut() -> bool, corrects: bool) {
        let found = &mut self.found;
        match self.asked {
            Asked::Blocks(pass) => {
                (0..self.trees[pass].blocks())
                    .filter(|_| next())
                    .for_each(|block| self.trees[pass].learn_odd_block(block));
            }
            Asked::Halves => {
                for (pass, tree) in self.trees.iter_mut().enumerate() {
                    tree.learn(&mut next, |i| found.push((Some(pass), i)));
                }
            }
            Asked::CheckHalves(check) => self.checks[check].learn(next, |x| found.push((None, x))),
            Asked::Checks(count) => {
                for _ in 0..count {
                    let odd = next();
                    self.clean = if odd { 0 } else { self.clean + 1 };
                    self.checks.push(Check::new(plan.log, odd));
                }
            }
            Asked::Nothing(_) => return,
        }
        while let Some((pass, i)) = self.found.pop() {
            self.correct(plan, pass, i, corrects);
        }
        self.asked = self.next(plan);
    }

    /// A single difference was found: every known part that holds it changes its parity.
    fn correct(&mut self, plan: &Plan, finder: Option<usize>, i: u32, corrects: bool) {
        // Another pass may have found it in the same round.
        if finder.is_some_and(|pass| !self.trees[pass].differs(i)) {
            return;
        }
        let x = finder.map_or(i, |pass| plan.bit_at(pass, i));
        for (pass, tree) in self.trees.iter_mut().enumerate() {
            tree.flip(plan.place_of(pass, x), corrects);
        }
        for (check, parts) in self.checks.iter_mut().enumerate() {
            parts.flip(plan.subset(check)[(x >> 6) as usize] >> (x & 63) & 1 == 1, x);
        }
        self.clean = 0;
    }

    /// What to ask after this round.
    fn next(&mut self, plan: &Plan) -> Asked {
        if self.budget == 0 {
            return Asked::Nothing(false);
        }
        if self.trees.iter().any(Tree::is_open) {
            return Asked::Halves;
        }
        if let Some(block) = plan.blocks.get(self.trees.len()) {
            let pass = self.trees.len();
            let frame = Zeroizing::new(self.bits().collect());
            self.trees.push(Tree::new(*block, &plan.arrange(pass, frame)));
            return Asked::Blocks(pass);
        }
        if let Some(check) = self.checks.iter().position(Check::is_open) {
            return if self.checks[check].is_sound() { Asked::CheckHalves(check) } else { Asked::Nothing(false) };
        }
        let count = if self.clean == 0 { FIRST_LOOK } else { CLEAN.saturating_sub(self.clean) };
        match count {
            0 => Asked::Nothing(true),
            _ if self.checks.len() + count as usize > CHECKS_MAX => Asked::Nothing(false),
            _ => Asked::Checks(count),
        }
    }
}
