// Consecutive elements become vectors, four at a time; what is left over is masked.
// run: lower vectorize hoist
// kernel k(x: f32[1000], a: number f32) -> (y):
//   y[i] := relu(x[i] * a)
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %a: f64, %errors: memref<?xi64>) {
//     %0 = arith.truncf %a : f64 to f32
//     %c0 = arith.constant 0 : index
//     %c1000 = arith.constant 1000 : index
//     %c1 = arith.constant 1 : index
//     %cst = arith.constant 0.0 : f32
//     %c960 = arith.constant 960 : index
//     %c64 = arith.constant 64 : index
//     %1 = vector.broadcast %0 : f32 to vector<16xf32>
//     %2 = vector.broadcast %cst : f32 to vector<16xf32>
//     %c16 = arith.constant 16 : index
//     %c32 = arith.constant 32 : index
//     %c48 = arith.constant 48 : index
//     scf.for %i = %c0 to %c960 step %c64 {
//       %3 = vector.load %x[%i] : memref<?xf32>, vector<16xf32>
//       %4 = arith.mulf %3, %1 : vector<16xf32>
//       %5 = arith.maximumf %4, %2 : vector<16xf32>
//       vector.store %5, %y[%i] : memref<?xf32>, vector<16xf32>
//       %6 = arith.addi %i, %c16 : index
//       %7 = vector.load %x[%6] : memref<?xf32>, vector<16xf32>
//       %8 = arith.mulf %7, %1 : vector<16xf32>
//       %9 = arith.maximumf %8, %2 : vector<16xf32>
//       vector.store %9, %y[%6] : memref<?xf32>, vector<16xf32>
//       %10 = arith.addi %i, %c32 : index
//       %11 = vector.load %x[%10] : memref<?xf32>, vector<16xf32>
//       %12 = arith.mulf %11, %1 : vector<16xf32>
//       %13 = arith.maximumf %12, %2 : vector<16xf32>
//       vector.store %13, %y[%10] : memref<?xf32>, vector<16xf32>
//       %14 = arith.addi %i, %c48 : index
//       %15 = vector.load %x[%14] : memref<?xf32>, vector<16xf32>
//       %16 = arith.mulf %15, %1 : vector<16xf32>
//       %17 = arith.maximumf %16, %2 : vector<16xf32>
//       vector.store %17, %y[%14] : memref<?xf32>, vector<16xf32>
//       scf.yield
//     }
//     %c992 = arith.constant 992 : index
//     scf.for %i_1 = %c960 to %c992 step %c16 {
//       %18 = vector.load %x[%i_1] : memref<?xf32>, vector<16xf32>
//       %19 = arith.mulf %18, %1 : vector<16xf32>
//       %20 = arith.maximumf %19, %2 : vector<16xf32>
//       vector.store %20, %y[%i_1] : memref<?xf32>, vector<16xf32>
//       scf.yield
//     }
//     %21 = arith.subi %c1000, %c992 : index
//     %22 = vector.broadcast %21 : index to vector<16xindex>
//     %23 = "vector.step"() : () -> vector<16xindex>
//     %24 = arith.cmpi slt, %23, %22 : vector<16xindex>
//     %cst_1 = arith.constant dense<0.0> : vector<16xf32>
//     %25 = vector.maskedload %x[%c992], %24, %cst_1 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
//     %26 = arith.mulf %25, %1 : vector<16xf32>
//     %27 = arith.maximumf %26, %2 : vector<16xf32>
//     vector.maskedstore %y[%c992], %24, %27 : memref<?xf32>, vector<16xi1>, vector<16xf32>
//     func.return
//   }
// }
