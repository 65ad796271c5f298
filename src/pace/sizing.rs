//! How large a range is: as large as its batches may be long.

/// The size of the next range, in blocks, led by how long batches took.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizing {
    blocks: f64,
}

/// What a range may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// How long a batch should take, in milliseconds.
    pub target_ms: f64,
    /// The most blocks of a range.
    pub blocks_max: u64,
}

/// The first ranges are small (512 KiB): what the server can do is not known yet.
const BLOCKS_FIRST: f64 = 64.0;
const BLOCKS_SWEEPING: f64 = 256.0;
/// A range grows slowly, since one fast batch proves little, and shrinks at once.
const GROWTH_MAX: f64 = 1.5;
const SHRINKAGE_MAX: f64 = 0.5;
/// Even where nothing is to be done, a range is no more than 512 MiB: it is what is read again after a crash.
pub const BLOCKS_MAX: u64 = 65_536;

impl Sizing {
    /// Begins small.
    pub fn new() -> Self {
        Self { blocks: BLOCKS_FIRST }
    }

    /// A sweep finds few rows and need not begin as small (2 MiB); where it finds many, it must not begin much larger.
    pub fn sweeping() -> Self {
        Self { blocks: BLOCKS_SWEEPING }
    }

    /// Blocks of the next range, at least 1.
    pub fn blocks(&self, bounds: Bounds) -> u64 {
        // Within u64: both bounds are.
        self.blocks.clamp(1.0, bounds.blocks_max.clamp(1, BLOCKS_MAX) as f64) as u64
    }

    /// The longest batch of a range of so many blocks took so long.
    pub fn took(&mut self, blocks: u64, batch_ms: f64, bounds: Bounds) {
        let factor = (bounds.target_ms / batch_ms.max(0.1)).clamp(SHRINKAGE_MAX, GROWTH_MAX);
        // What was measured is that range; ranges claimed meanwhile by others do not count twice.
        let wanted = (blocks as f64 * factor).max(1.0);
        self.blocks = if factor >= 1.0 { wanted.max(self.blocks) } else { wanted.min(self.blocks) };
        self.blocks = self.blocks.min(bounds.blocks_max.clamp(1, BLOCKS_MAX) as f64);
    }

    /// A batch did not end in time.
    pub fn timed_out(&mut self) {
        self.blocks = (self.blocks * SHRINKAGE_MAX).max(1.0);
    }
}

impl Default for Sizing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { target_ms: 50.0, blocks_max: 4_096 };

    /// A server that writes a block of a range in so many milliseconds a batch.
    fn settles_at(ms_a_block: f64, ranges: u32) -> u64 {
        let mut sizing = Sizing::new();
        for _ in 0..ranges {
            let blocks = sizing.blocks(BOUNDS);
            sizing.took(blocks, blocks as f64 * ms_a_block, BOUNDS);
        }
        sizing.blocks(BOUNDS)
    }

    #[test]
    fn batches_come_to_take_as_long_as_they_should() {
        assert!((450..=550).contains(&settles_at(0.1, 20)), "{}", settles_at(0.1, 20));
        assert!((24..=26).contains(&settles_at(2.0, 20)));
        assert_eq!(settles_at(0.0, 40), 4_096);
        assert_eq!(settles_at(1_000.0, 40), 1);
    }

    #[test]
    fn one_slow_batch_halves_and_one_fast_batch_adds_a_half() {
        let mut sizing = Sizing { blocks: 400.0 };
        sizing.took(400, 10_000.0, BOUNDS);
        assert_eq!(sizing.blocks(BOUNDS), 200);
        sizing.took(200, 0.0, BOUNDS);
        assert_eq!(sizing.blocks(BOUNDS), 300);
        sizing.timed_out();
        assert_eq!(sizing.blocks(BOUNDS), 150);
    }

    #[test]
    fn several_workers_do_not_add_up_their_growth() {
        let mut sizing = Sizing { blocks: 100.0 };
        for _ in 0..4 {
            sizing.took(100, 1.0, BOUNDS);
        }
        assert_eq!(sizing.blocks(BOUNDS), 150);
    }
}
