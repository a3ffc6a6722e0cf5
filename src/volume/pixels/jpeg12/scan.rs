//! One scan: the blocks of its components in MCU order (ITU-T T.81 A.2, F.2.2).

use super::idct::idct;
use super::tables::{Bits, Huffman, ZIGZAG};
use super::{Frame, PixelError, truncated};

type Tables<'a> = (&'a [Option<[f32; 64]>; 4], &'a [Option<Huffman>; 4], &'a [Option<Huffman>; 4]);

pub(super) struct Scan<'a> {
    members: Vec<Member<'a>>,
    restart_interval: usize,
}

struct Member<'a> {
    /// Index into the frame's components.
    component: usize,
    quantization: &'a [f32; 64],
    dc: &'a Huffman,
    ac: &'a Huffman,
    /// The DC coefficient of the block before.
    prediction: i32,
}

impl<'a> Scan<'a> {
    pub(super) fn parse(
        header: &[u8],
        frame: &Frame,
        tables: Tables<'a>,
        restart_interval: usize,
    ) -> Result<Self, PixelError> {
        let (&count, specs) = header.split_first().ok_or_else(truncated)?;
        let specs = specs.get(..usize::from(count) * 2).ok_or_else(truncated)?;
        if specs.is_empty() {
            return Err(PixelError::codestream("JPEG", "a scan has no components"));
        }
        let members = specs.chunks_exact(2).map(|spec| Member::new(spec[0], spec[1], frame, tables));
        Ok(Self { members: members.collect::<Result<_, _>>()?, restart_interval })
    }

    /// Fills the components' samples; returns how many bytes of `data` it used.
    pub(super) fn decode(&mut self, frame: &mut Frame, data: &[u8]) -> Result<usize, PixelError> {
        let mut bits = Bits::new(data);
        let (across, down) = self.mcus(frame);
        for mcu in 0..across * down {
            if self.restart_interval > 0 && mcu > 0 && mcu % self.restart_interval == 0 {
                bits.restart()?;
                self.members.iter_mut().for_each(|member| member.prediction = 0);
            }
            self.mcu(frame, (mcu % across, mcu / across), &mut bits)?;
        }
        Ok(bits.used())
    }

    /// A scan of one component has MCUs of one block and none that is padding alone.
    fn mcus(&self, frame: &Frame) -> (usize, usize) {
        let extent = |size: usize, own: usize, most: usize| (size * own).div_ceil(most).div_ceil(8);
        match self.members.as_slice() {
            [alone] => {
                let own = frame.components[alone.component].sampling;
                (extent(frame.columns, own.0, frame.sampling.0), extent(frame.rows, own.1, frame.sampling.1))
            }
            _ => (frame.columns.div_ceil(8 * frame.sampling.0), frame.rows.div_ceil(8 * frame.sampling.1)),
        }
    }

    fn mcu(&mut self, frame: &mut Frame, at: (usize, usize), bits: &mut Bits<'_>) -> Result<(), PixelError> {
        let alone = self.members.len() == 1;
        for member in &mut self.members {
            let component = &frame.components[member.component];
            let (across, down) = if alone { (1, 1) } else { component.sampling };
            for block in 0..across * down {
                let place = (at.0 * across + block % across, at.1 * down + block / across);
                let coefficients = member.block(bits)?;
                put(frame, member.component, place, &idct(&coefficients));
            }
        }
        Ok(())
    }
}

impl<'a> Member<'a> {
    fn new(id: u8, selectors: u8, frame: &Frame, tables: Tables<'a>) -> Result<Self, PixelError> {
        let absent = || PixelError::codestream("JPEG", "a scan names a table or component that is absent");
        let component =
            frame.components.iter().position(|component| component.id == id).ok_or_else(absent)?;
        let (quantization, dc, ac) = tables;
        let quantization = quantization.get(frame.components[component].table).and_then(Option::as_ref);
        Ok(Self {
            component,
            quantization: quantization.ok_or_else(absent)?,
            dc: dc.get(usize::from(selectors >> 4)).and_then(Option::as_ref).ok_or_else(absent)?,
            ac: ac.get(usize::from(selectors & 15)).and_then(Option::as_ref).ok_or_else(absent)?,
            prediction: 0,
        })
    }

    /// Dequantized coefficients of the next block, row by row.
    fn block(&mut self, bits: &mut Bits<'_>) -> Result<[f32; 64], PixelError> {
        let mut coefficients = [0.0; 64];
        let size = magnitude(self.dc.decode(bits)?)?;
        self.prediction = self.prediction.saturating_add(bits.value(size)?);
        coefficients[0] = self.prediction as f32 * self.quantization[0];
        let mut at = 1;
        while at < 64 {
            let (run, size) = match self.ac.decode(bits)? {
                0x00 => break,
                code => (usize::from(code >> 4), code & 15),
            };
            at += run;
            let place =
                *ZIGZAG.get(at).ok_or_else(|| PixelError::codestream("JPEG", "a block has 65 values"))?;
            coefficients[place] = bits.value(size)? as f32 * self.quantization[place];
            at += 1;
        }
        Ok(coefficients)
    }
}

/// 12-bit samples need up to 15 bits for a difference.
fn magnitude(size: u8) -> Result<u8, PixelError> {
    if size > 16 {
        Err(PixelError::codestream("JPEG", "a difference has more than 16 bits"))
    } else {
        Ok(size)
    }
}

fn put(frame: &mut Frame, component: usize, (across, down): (usize, usize), block: &[f32; 64]) {
    let (middle, greatest) =
        ((1_u32 << (frame.precision - 1)) as f32, ((1_u32 << frame.precision) - 1) as f32);
    let component = &mut frame.components[component];
    if across >= component.blocks_across || down >= component.blocks_down {
        return;
    }
    let stride = component.blocks_across * 8;
    for (line, values) in block.chunks_exact(8).enumerate() {
        let start = (down * 8 + line) * stride + across * 8;
        let out = &mut component.samples[start..start + 8];
        out.iter_mut()
            .zip(values)
            .for_each(|(out, value)| *out = (value + middle).round().clamp(0.0, greatest) as u16);
    }
}
